//! The addresses of an org's network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::model::QuantityError;

/// An IPv4 or IPv6 network, `10.88.1.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    pub address: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Subnet {
    fn bits(self) -> (u128, u32) {
        match self.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        }
    }

    fn network(self) -> u128 {
        let (bits, width) = self.bits();
        let host = width - u32::from(self.prefix);
        bits.checked_shr(host).unwrap_or(0).checked_shl(host).unwrap_or(0)
    }

    /// Returns whether an address lies in both.
    pub fn overlaps(self, other: Subnet) -> bool {
        let wider = Subnet { prefix: self.prefix.min(other.prefix), ..self };
        self.bits().1 == other.bits().1 && wider.network() == Subnet { prefix: wider.prefix, ..other }.network()
    }
}

impl FromStr for Subnet {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = |message, hint: String| Err(QuantityError { message, hint });
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let subnet = Subnet { address: address.parse().ok()?, prefix: prefix.parse().ok()? };
            (u32::from(subnet.prefix) <= subnet.bits().1).then_some(subnet)
        });
        let Some(subnet) = parsed else {
            return wrong(format!("`{text}` is not a subnet"), "write it like `10.88.1.0/24`".to_owned());
        };
        let (bits, width) = subnet.bits();
        if width - u32::from(subnet.prefix) < 2 {
            return wrong(
                format!("`{text}` has no room for containers"),
                "write a larger one, such as `10.88.1.0/24`".to_owned(),
            );
        }
        if bits != subnet.network() {
            let address = match subnet.address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(subnet.network() as u32)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(subnet.network())),
            };
            let right = Subnet { address, ..subnet };
            return wrong(format!("`{text}` is an address in a subnet"), format!("write `{right}`"));
        }
        Ok(subnet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_subnets() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(subnet("10.88.0.0/16").overlaps(subnet("10.88.1.0/24")));
        assert!(subnet("10.88.1.0/24").overlaps(subnet("10.88.0.0/16")));
        assert!(!subnet("10.88.1.0/24").overlaps(subnet("10.88.2.0/24")));
        assert!(!subnet("fd00::/64").overlaps(subnet("0.0.0.0/0")));
        assert!(subnet("::/0").overlaps(subnet("fd00::/64")));
        assert_eq!("10.88.1.7/24".parse::<Subnet>().unwrap_err().hint, "write `10.88.1.0/24`");
        for bad in ["10.88.1.0", "10.88.1.0/33", "10.88.1.0/31", "a/24", "10.88.1.0/-1"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
