//! The sockets of a network namespace, by netlink sock_diag: what they are connected to, their bytes and idle times.
//!
//! The request is the older `TCPDIAG_GETSOCK`: it lists both address families in one walk through the kernel's table,
//! which is most of what a look costs: the table is of all namespaces together, and sized by the machine's memory. So it
//! is walked only where something came: a socket that was there before is asked for by its name, and the kernel's count
//! tells whether those are all. It reads nothing that a container could change the meaning of, and no more than it is
//! asked for.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::model::Protocol;

const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const INET_DIAG_INFO: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
/// What the kernel counts as in use and that does not listen: neither TIME_WAIT (6), CLOSE (7), LISTEN (10) nor
/// NEW_SYN_RECV (12); nor FIN_WAIT2 (5), as some of those are not counted and cannot be told apart.
const CONNECTED: u32 = 0b1011_0001_1110;
/// Up to so many are asked for by name: past that, the walk is cheaper.
const FEW: usize = 400;
/// So many requests at a time: their answers lie in the socket's buffer until they are read.
const BATCH: usize = 32;

const HEADER: usize = 16;
const MESSAGE: usize = 72;
/// Offsets within the kernel's `struct tcp_info`.
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECEIVED: usize = 52;
const LAST_ACK_RECEIVED: usize = 56;
const BYTES_ACKED: usize = 120;
const BYTES_RECEIVED: usize = 128;

/// An established TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// Never given twice in a namespace.
    pub(super) cookie: u64,
    pub(super) uid: u32,
    /// Acknowledged and received.
    pub(super) payload: u64,
    pub(super) data_idle: Duration,
    pub(super) silent: Duration,
}

/// What the kernel finds a socket again by, `struct inet_diag_sockid` with the cookie in it, after its family.
type Name = (u8, [u8; 48]);

/// The connected sockets that a namespace had at the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known(Vec<Name>);

/// The TCP sockets of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    pub(super) established: Vec<Tcp>,
    pub(super) listening: BTreeSet<u16>,
    /// There were more than asked for.
    pub(super) cut: bool,
}

/// Lists the addresses of the namespace that the thread is in. (`getifaddrs` also describes every interface, of which
/// each container has one on the host.)
pub(super) fn own_addresses(buffer: &mut [u8]) -> io::Result<BTreeSet<IpAddr>> {
    let mut addresses = BTreeSet::new();
    Diag::speaking(SockProtocol::NetlinkRoute)?.dump(RTM_GETADDR, &[0; 8], buffer, |message| {
        let attributes = message.get(8..).unwrap_or_default();
        // The other one is the peer's, on a link between two.
        let address = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS));
        addresses.extend(address.zip(message.first()).and_then(|(bytes, family)| address_of(*family, bytes, 0)));
        true
    })?;
    Ok(addresses)
}

/// A socket to ask the kernel through; it belongs to the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Diag(OwnedFd);

impl Diag {
    /// Opens one in the namespace that the thread is in.
    pub(super) fn open() -> io::Result<Self> {
        Self::speaking(SockProtocol::NetlinkSockDiag)
    }

    fn speaking(protocol: SockProtocol) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
        // The kernel answers at once; should it not, a thread is not to wait for ever.
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(5))?;
        setsockopt(&fd, SendTimeout, &TimeVal::seconds(5))?;
        Ok(Self(fd))
    }

    /// Lists the TCP sockets, of which `in_use` tells how many are there, where that is known. `buffer` is scratch. A
    /// socket whose answer was cut is of no further use.
    pub(super) fn tcp(
        &self,
        in_use: impl Fn() -> Option<usize>,
        known: &mut Known,
        most: usize,
        buffer: &mut [u8],
    ) -> io::Result<Sockets> {
        let mut sockets = Sockets::default();
        let mut count = 0;
        let before = std::mem::take(&mut known.0);
        self.dump(TCPDIAG_GETSOCK, &tcp_request(1 << LISTEN), buffer, |message| {
            count += 1;
            sockets.cut = count > most;
            sockets.listening.insert(port(message, 4));
            !sockets.cut
        })?;
        let all = in_use();
        if sockets.cut || all.is_some_and(|all| all <= count) {
            return Ok(sockets);
        }
        if all.is_some_and(|all| all <= count + before.len()) && before.len() <= FEW {
            let mut still = Vec::new();
            for batch in before.chunks(BATCH) {
                self.ask(batch, buffer, |message| still.push(message.to_vec()))?;
            }
            // Twice, as one may come while others are asked for.
            if all == Some(count + still.len()) && all == in_use() {
                still.iter().for_each(|message| take(message, known, &mut sockets));
                return Ok(sockets);
            }
        }
        self.dump(TCPDIAG_GETSOCK, &tcp_request(CONNECTED), buffer, |message| {
            count += 1;
            sockets.cut = count > most;
            take(message, known, &mut sockets);
            !sockets.cut
        })?;
        Ok(sockets)
    }

    /// Hands the answer's body of each that is still there to `each`.
    fn ask(&self, names: &[Name], buffer: &mut [u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let requests = names.iter().flat_map(|name| request(TCPDIAG_GETSOCK, 0, &request_of(name)));
        self.send(&requests.collect::<Vec<u8>>())?;
        for _ in names {
            match message(self.receive(buffer)?) {
                Some((NLMSG_ERROR, ..)) | None => {}
                Some((_, body, _)) if body.get(1).is_some_and(|state| CONNECTED >> state & 1 == 1) => each(body),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Lists the ends of UDP sockets, local and remote; the remote is all zeroes where there is none.
    pub(super) fn udp(&self, most: usize, buffer: &mut [u8]) -> io::Result<Vec<(SocketAddr, SocketAddr)>> {
        let mut ends = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = [0u8; 56];
            body[0] = u8::try_from(family).unwrap_or_default();
            body[1] = u8::try_from(libc::IPPROTO_UDP).unwrap_or_default();
            body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
            self.dump(SOCK_DIAG_BY_FAMILY, &body, buffer, |message| {
                ends.extend(both_ends(message));
                ends.len() < most
            })?;
        }
        Ok(ends)
    }

    /// Sends a request and hands every answer's body to `each`, until it has enough.
    fn dump(&self, kind: u16, body: &[u8], buffer: &mut [u8], mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        self.send(&request(kind, NLM_F_DUMP, body))?;
        loop {
            let mut rest = self.receive(buffer)?;
            while let Some((kind, body, after)) = message(rest) {
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return Err(io::Error::from_raw_os_error(-signed(body))),
                    _ if each(body) => {}
                    // The rest of the answer goes with the socket.
                    _ => return Ok(()),
                }
                rest = after;
            }
        }
    }

    fn send(&self, requests: &[u8]) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), requests, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                length => return Ok(&buffer[..length?]),
            }
        }
    }
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut request = Vec::with_capacity(HEADER + body.len());
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(body);
    request
}

/// Asks for all in those states.
fn tcp_request(states: u32) -> [u8; 60] {
    let mut body = [0; 60];
    body[3] = 1 << (INET_DIAG_INFO - 1);
    body[52..56].copy_from_slice(&states.to_ne_bytes());
    body
}

fn request_of((family, ends): &Name) -> [u8; 60] {
    let mut body = tcp_request(u32::MAX);
    body[0] = *family;
    body[4..52].copy_from_slice(ends);
    body
}

fn take(message: &[u8], known: &mut Known, sockets: &mut Sockets) {
    known.0.extend(message.first().copied().zip(number(message, 4)));
    if message.get(1) == Some(&ESTABLISHED) {
        sockets.established.extend(established(message));
    }
}

/// Splits the first message off: its type, its body, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let next = length.next_multiple_of(4).min(bytes.len());
    Some((kind, body, &bytes[next..]))
}

fn established(message: &[u8]) -> Option<Tcp> {
    let (local, remote) = both_ends(message)?;
    let info = attribute(message.get(MESSAGE..)?, INET_DIAG_INFO)?;
    let millis = |at: usize| number::<4>(info, at).map(|bytes| Duration::from_millis(u32::from_ne_bytes(bytes).into()));
    let bytes = |at: usize| number::<8>(info, at).map(u64::from_ne_bytes);
    let data_idle = millis(LAST_DATA_SENT)?.min(millis(LAST_DATA_RECEIVED)?);
    Some(Tcp {
        local,
        remote,
        cookie: u64::from_ne_bytes(number(message, 44)?),
        uid: u32::from_ne_bytes(number(message, 64)?),
        payload: bytes(BYTES_ACKED)?.saturating_add(bytes(BYTES_RECEIVED)?),
        data_idle,
        silent: data_idle.min(millis(LAST_ACK_RECEIVED)?),
    })
}

fn both_ends(message: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let family = *message.first()?;
    let local = SocketAddr::new(address_of(family, message, 8)?, port(message, 4));
    Some((local, SocketAddr::new(address_of(family, message, 24)?, port(message, 6))))
}

fn address_of(family: u8, bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(match i32::from(family) {
        libc::AF_INET => Ipv4Addr::from(number::<4>(bytes, at)?).into(),
        libc::AF_INET6 => IpAddr::from(Ipv6Addr::from(number::<16>(bytes, at)?)).to_canonical(),
        _ => return None,
    })
}

fn port(message: &[u8], at: usize) -> u16 {
    number(message, at).map_or(0, u16::from_be_bytes)
}

fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(number(bytes, 0)?));
        let kind = u16::from_ne_bytes(number(bytes, 2)?);
        if kind == wanted {
            return bytes.get(4..length);
        }
        bytes = bytes.get(length.next_multiple_of(4).max(4)..)?;
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn signed(body: &[u8]) -> i32 {
    number(body, 0).map_or(0, i32::from_ne_bytes)
}

/// Returns how a UDP socket is named: by its peer, or by its port where it has none.
pub(super) fn udp_name((local, remote): (SocketAddr, SocketAddr)) -> crate::model::Outgoing {
    let peer = if remote.port() == 0 { format!("port {}", local.port()) } else { remote.to_string() };
    crate::model::Outgoing { protocol: Protocol::Udp, peer }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use nix::sys::socket::sockopt::Linger;

    use super::super::connections::missing_capabilities;
    use super::super::place::Process;
    use super::*;

    /// Closes it so that nothing of it is left.
    fn reset(stream: TcpStream) {
        setsockopt(&stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }

    fn look() -> Sockets {
        Diag::open().unwrap().tcp(|| None, &mut Known::default(), 1 << 20, &mut [0; 32 * 1024]).unwrap()
    }

    fn find(local: SocketAddr, remote: SocketAddr) -> Tcp {
        look().established.into_iter().find(|tcp| (tcp.local, tcp.remote) == (local, remote)).unwrap()
    }

    #[test]
    fn p3_bytes_and_idle_times_are_the_kernels() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, peer) = listener.accept().unwrap();
            let here = server.local_addr().unwrap();
            let fresh = find(here, peer);
            assert_eq!(fresh.payload, 0, "{address}: nothing was sent yet");
            assert!(look().listening.contains(&here.port()));
            client.write_all(&[1; 1000]).unwrap();
            server.read_exact(&mut [0; 1000]).unwrap();
            server.write_all(&[2; 300]).unwrap();
            client.read_exact(&mut [0; 300]).unwrap();
            let used = find(here, peer);
            assert_eq!((used.payload, used.cookie), (1300, fresh.cookie), "{address}");
            assert!(used.data_idle < Duration::from_secs(5) && used.silent <= used.data_idle);
            assert_eq!(used.uid, nix::unistd::getuid().as_raw());
            drop(listener);
            assert!(!look().listening.contains(&here.port()));
            assert_eq!(find(here, peer).cookie, fresh.cookie, "it outlives its listener");
        }
    }

    /// In a namespace of its own, where the counts are what the test makes of them.
    #[test]
    fn p3_what_is_known_is_asked_for_by_name_and_what_comes_is_found() {
        let alone = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
            assert!(up.success());
            let (diag, own) = (Diag::open().unwrap(), Process::own().unwrap());
            let walks = std::cell::Cell::new(0);
            let mut known = Known::default();
            let mut look = || {
                let in_use = || {
                    walks.set(walks.get() + 1);
                    own.tcp_in_use()
                };
                walks.set(0);
                let sockets = diag.tcp(in_use, &mut known, 1 << 20, &mut [0; 32 * 1024]).unwrap();
                let mut ports: Vec<_> = sockets.established.iter().map(|tcp| tcp.payload).collect();
                ports.sort_unstable();
                // The count is read twice where the walk is saved. The client's handshake counts as a byte.
                (ports, walks.get() == 2)
            };
            assert_eq!(look(), (vec![], false));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let connect = || {
                let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                (client, listener.accept().unwrap().0)
            };
            let (mut first, first_end) = connect();
            assert_eq!(look(), (vec![0, 1], false), "it came: walk");
            first.write_all(&[1; 10]).unwrap();
            (&first_end).read_exact(&mut [0; 10]).unwrap();
            assert_eq!(look(), (vec![10, 11], true), "the bytes of what is known are the kernel's");
            let (second, second_end) = connect();
            assert_eq!(look(), (vec![0, 1, 10, 11], false), "another came");
            assert_eq!(look(), (vec![0, 1, 10, 11], true));
            // One goes, one comes: there are as many as before.
            reset(second);
            drop(second_end);
            let third = connect();
            assert_eq!(look(), (vec![0, 1, 10, 11], false), "as many, but others");
            assert_eq!(look(), (vec![0, 1, 10, 11], true));
            // Half closed, it is not established, and yet there.
            first.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(look().0, vec![0, 1]);
            reset(first);
            drop((first_end, third));
            drop(listener);
            assert_eq!(look(), (vec![], false));
        };
        if missing_capabilities().is_none() {
            std::thread::spawn(alone).join().unwrap();
        }
    }

    #[test]
    fn the_hosts_addresses_are_those_of_its_interfaces() {
        let listed = || -> BTreeSet<IpAddr> {
            let address =
                |interface: nix::ifaddrs::InterfaceAddress| Some(IpAddr::V4(interface.address?.as_sockaddr_in()?.ip()));
            nix::ifaddrs::getifaddrs().unwrap().filter_map(address).collect()
        };
        // Others' networks come and go.
        let (before, own, after) = (listed(), own_addresses(&mut [0; 32 * 1024]).unwrap(), listed());
        assert!(own.contains(&"127.0.0.1".parse().unwrap()));
        assert!(before.intersection(&after).all(|address| own.contains(address)), "{own:?}, {before:?}");
    }

    #[test]
    fn p6_datagrams_are_named_by_their_peer_or_port() {
        let open = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(open.local_addr().unwrap()).unwrap();
        let names: Vec<_> =
            Diag::open().unwrap().udp(1 << 20, &mut [0; 32 * 1024]).unwrap().into_iter().map(udp_name).collect();
        let has = |peer: String| names.iter().any(|name| name.peer == peer);
        assert!(has(format!("port {}", open.local_addr().unwrap().port())), "{names:?}");
        assert!(has(open.local_addr().unwrap().to_string()), "{names:?}");
    }

    #[test]
    fn x4_no_more_is_read_than_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let seen = Diag::open().unwrap().tcp(|| None, &mut Known::default(), 1, &mut [0; 32 * 1024]).unwrap();
        assert!(seen.cut);
        assert!(!look().cut);
    }

    #[test]
    fn what_the_kernel_would_never_send_is_not_followed() {
        assert_eq!(message(&[]), None);
        assert_eq!(message(&[3, 0, 0, 0, 0, 0]), None, "shorter than its header");
        assert_eq!(message(&[255; 20]), None, "longer than what there is");
        assert_eq!(attribute(&[0; 3], 2), None);
        assert_eq!(attribute(&[0; 40], 2), None, "of no length, and yet it ends");
        assert_eq!(established(&[2; MESSAGE]), None);
    }
}
