//! Durations, sizes, cpus and ports as people write them (rule C2a). Parsing and printing are each other's inverse.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text is not a quantity; `hint` says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuantityError {
    pub message: String,
    pub hint: String,
}

fn error<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, QuantityError> {
    Err(QuantityError { message: message.into(), hint: hint.into() })
}

/// A span of time, written `90s`, `30m`, `2h`, `1h30m`, `7d`; whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

const SPAN_HINT: &str = "write it like `90s`, `30m`, `2h`, `1h30m` or `7d`";
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// The longest span: a century, far past any sense and far from any overflow.
const MAX_SPAN_SECONDS: u64 = 100 * 366 * 86_400;

impl FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (mut total, mut number, mut smallest) = (0u64, String::new(), u64::MAX);
        for c in text.chars() {
            if c.is_ascii_digit() {
                number.push(c);
                continue;
            }
            let unit = UNITS.iter().find(|(name, _)| *name == c).map(|(_, seconds)| *seconds);
            let (Some(unit), Ok(count)) = (unit, number.parse::<u64>()) else {
                return error(format!("`{text}` is not a duration"), SPAN_HINT);
            };
            if unit >= smallest {
                return error(format!("`{text}` is not a duration: units go from large to small"), SPAN_HINT);
            }
            smallest = unit;
            number.clear();
            total = total.saturating_add(count.saturating_mul(unit));
        }
        if !number.is_empty() {
            return error(format!("`{text}` has a number without a unit"), SPAN_HINT);
        }
        if smallest == u64::MAX {
            return error("an empty text is not a duration", SPAN_HINT);
        }
        if total > MAX_SPAN_SECONDS {
            return error(format!("`{text}` is longer than a century"), SPAN_HINT);
        }
        Ok(Self(Duration::from_secs(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (name, seconds) in UNITS {
            if rest >= seconds {
                text.push_str(&format!("{}{name}", rest / seconds));
                rest %= seconds;
            }
        }
        f.pad(&text)
    }
}

/// A size in bytes, written `512MiB` or `4GiB`; `K M G T` are binary, as Docker has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

const SCALES: [(&str, u32); 5] = [("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40)];

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const HINT: &str = "write it like `512MiB` or `4GiB`";
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim_start());
        if let Some(scale) = unit.strip_suffix('B').filter(|s| ["K", "k", "M", "G", "T"].contains(s)) {
            let binary = format!("{number}{}iB", scale.to_uppercase());
            return error(
                format!("`{text}` is decimal; sizes here are binary, as in Docker"),
                format!("write `{binary}`"),
            );
        }
        let scale = unit.strip_suffix("iB").or_else(|| (unit == "B").then_some("")).unwrap_or(unit);
        let shift = SCALES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scale)).map(|(_, shift)| *shift);
        let (Ok(number), Some(shift)) = (number.parse::<u64>(), shift) else {
            return error(format!("`{text}` is not a size"), HINT);
        };
        match number.checked_mul(1 << shift).filter(|bytes| *bytes <= i64::MAX as u64) {
            Some(bytes) => Ok(Self(bytes)),
            None => error(format!("`{text}` is too large"), HINT),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, shift) = SCALES
            .into_iter()
            .rev()
            .find(|(_, shift)| self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift))
            .unwrap_or(("", 0));
        let unit = if name.is_empty() { "B".to_owned() } else { format!("{name}iB") };
        f.pad(&format!("{}{unit}", self.0 >> shift))
    }
}

/// A number of CPUs, kept in billionths as Docker's `NanoCpus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus {
    pub nanos: u64,
}

impl Cpus {
    /// Returns that many CPUs, rounded to a hundredth.
    ///
    /// # Errors
    /// When the number is not between 0.01 and 4096.
    pub fn new(cpus: f64) -> Result<Self, QuantityError> {
        if !(0.01..=4096.0).contains(&cpus) {
            return error(format!("{cpus} is not a number of cpus"), "write a number from 0.01 to 4096, such as `2.0`");
        }
        let hundredths = (cpus * 100.0).round() as u64;
        Ok(Self { nanos: hundredths * 10_000_000 })
    }

    /// Returns the number as a float, as it stands in files and JSON.
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / 1e9
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?}", self.as_f64()))
    }
}

impl Serialize for Cpus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The transport of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A published port, written `127.0.0.1:8080:80` or `[::1]:8080:80/udp`. With no address it is loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortMapping {
    pub host: IpAddr,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl FromStr for PortMapping {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = || {
            QuantityError {
            message: format!("`{text}` is not a published port"),
            hint: "write `HOST_IP:HOST_PORT:CONTAINER_PORT`, such as `127.0.0.1:8080:8080`, and `/udp` behind it if need be"
                .into(),
        }
        };
        let (address, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((address, "tcp")) => (address, Protocol::Tcp),
            Some((address, "udp")) => (address, Protocol::Udp),
            Some(_) => return Err(bad()),
        };
        let (rest, container) = address.rsplit_once(':').ok_or_else(bad)?;
        let (host, host_port) = rest.rsplit_once(':').unwrap_or(("127.0.0.1", rest));
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(bad);
        Ok(Self {
            host: host.parse().map_err(|_| bad())?,
            host_port: port(host_port)?,
            container_port: port(container)?,
            protocol,
        })
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.host {
            IpAddr::V4(host) => host.to_string(),
            IpAddr::V6(host) => format!("[{host}]"),
        };
        write!(f, "{host}:{}:{}", self.host_port, self.container_port)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

/// A range of ports, written `8000-8999` or `8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// Returns whether the port lies in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first != 0 && first <= last => Ok(Self { first, last }),
            _ => error(format!("`{text}` is not a range of ports"), "write it like `8000-8999` or `8080`"),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// A type that is written as text everywhere: `String` to it by parsing, it to `String` by printing.
macro_rules! text_conversions {
    ($($name:ident)*) => {
        $(
            impl TryFrom<String> for $name {
                type Error = QuantityError;

                fn try_from(text: String) -> Result<Self, QuantityError> {
                    text.parse()
                }
            }

            impl From<$name> for String {
                fn from(value: $name) -> String {
                    value.to_string()
                }
            }
        )*
    };
}
pub(crate) use text_conversions;

text_conversions!(Span Bytes PortMapping PortRange);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c2a_durations() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_secs(), seconds, "{text}");
        }
        for bad in
            ["", "2", "h", "30m1h", "1h1h", "1M", "2 h", "-1h", "1.5h", "never", "99999999999999999999s", "40000d"]
        {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn c2a_sizes_are_binary_and_decimal_ones_are_refused_with_the_suggestion() {
        for (text, bytes) in [("512MiB", 512 << 20), ("4GiB", 4 << 30), ("4G", 4 << 30), ("64m", 64 << 20), ("10B", 10)]
        {
            assert_eq!(text.parse::<Bytes>().unwrap().0, bytes, "{text}");
        }
        assert_eq!("4GB".parse::<Bytes>().unwrap_err().hint, "write `4GiB`");
        assert_eq!("64kB".parse::<Bytes>().unwrap_err().hint, "write `64KiB`");
        for bad in ["", "GiB", "4X", "4GiBB", "-1G", "1.5G", "99999999999T"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports() {
        let port: PortMapping = "8080:80".parse().unwrap();
        assert_eq!(port.to_string(), "127.0.0.1:8080:80");
        for good in ["127.0.0.1:8080:80", "[::1]:53:53/udp", "0.0.0.0:1:65535"] {
            assert_eq!(good.parse::<PortMapping>().unwrap().to_string(), good);
        }
        for bad in ["80", "0:80", "a:80:80", "1:2:3:4", "127.0.0.1:80:99999", "80:80/sctp"] {
            assert!(bad.parse::<PortMapping>().is_err(), "{bad}");
        }
        assert!("8000-8999".parse::<PortRange>().unwrap().contains(8080));
        assert!("9-8".parse::<PortRange>().is_err());
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(seconds in 0..MAX_SPAN_SECONDS, bytes in 0..i64::MAX as u64) {
            let span = Span(Duration::from_secs(seconds));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
            let size = Bytes(bytes);
            prop_assert_eq!(size.to_string().parse::<Bytes>().unwrap(), size);
        }
    }
}
