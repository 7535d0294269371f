//! What hearthd tells systemd. Nothing at all where no service manager listens.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use sd_notify::NotifyState;
use tracing::warn;

/// The longest `STATUS=`: more does not fit a line of `systemctl status`.
const STATUS_KEPT: usize = 200;

/// How long a service manager that does not read may hold the loop.
const PATIENCE: Duration = Duration::from_millis(200);

/// The service manager, where there is one.
#[derive(Debug, Clone, Default)]
pub struct Service {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

impl Service {
    /// Returns the service manager that the environment names.
    pub fn from_environment() -> Self {
        let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match address(&socket) {
            Ok(address) => Self { address: Some(address), watchdog: sd_notify::watchdog_enabled() },
            Err(error) => {
                warn!(socket = %socket.display(), %error, "cannot speak to systemd");
                Self::default()
            }
        }
    }

    /// Returns how long the watchdog waits at most for [`alive`](Self::alive), where it watches.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells that the sockets answer, or that a reload is done.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// Tells that the configuration is being read again; [`ready`](Self::ready) ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(moment) => self.tell(&[NotifyState::Reloading, moment]),
            Err(error) => warn!(%error, "cannot read the monotonic clock"),
        }
    }

    /// Tells that hearthd is ending.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Tells that a turn of the loop came to its end.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// Sets the line that `systemctl status` shows. The text may come from anywhere: it cannot begin a line of its own.
    pub fn status(&self, text: &str) {
        let line: String = text.chars().take(STATUS_KEPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.tell(&[NotifyState::Status(&line)]);
    }

    /// Hands systemd a listener to keep, in place of an earlier one: who connects while the service restarts then waits
    /// in its queue, and nobody is refused.
    pub fn keep(&self, listener: &impl AsFd) {
        const NAME: NotifyState<'_> = NotifyState::Custom("FDNAME=api");
        self.tell(&[NotifyState::Custom("FDSTOREREMOVE=1"), NAME]);
        self.tell_with(&[NotifyState::Custom("FDSTORE=1"), NAME], &[listener.as_fd().as_raw_fd()]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        self.tell_with(states, &[]);
    }

    fn tell_with(&self, states: &[NotifyState<'_>], descriptors: &[i32]) {
        let Some(address) = &self.address else { return };
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        if let Err(error) = send(address, &message, descriptors) {
            warn!(%error, "systemd does not listen to {}", message.trim_end());
        }
    }
}

fn send(address: &SocketAddr, message: &str, descriptors: &[i32]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect_addr(address)?;
    let rights = (!descriptors.is_empty()).then_some(ControlMessage::ScmRights(descriptors));
    let text = [IoSlice::new(message.as_bytes())];
    sendmsg::<()>(socket.as_raw_fd(), &text, rights.as_slice(), MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Returns the listener on `path` that systemd [kept](Service::keep) while the service restarted. To be asked once.
pub(super) fn kept_listener(path: &Path) -> Option<UnixListener> {
    let descriptor = sd_notify::listen_fds().ok()?.next()?;
    #[expect(unsafe_code, reason = "systemd passed it to this process, and this is the only place that takes it")]
    let listener = unsafe { UnixListener::from_raw_fd(descriptor) };
    let is_it = listener.local_addr().is_ok_and(|address| address.as_pathname() == Some(path));
    (is_it && path.exists()).then_some(listener)
}

/// A path, or with `@` in front a name in the abstract namespace.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening() -> (tempfile::TempDir, UnixDatagram, Service) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let service = Service { address: Some(address(path.as_os_str()).unwrap()), watchdog: None };
        (dir, socket, service)
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_message_is_a_datagram_of_lines() {
        let (_dir, socket, service) = listening();
        service.ready();
        assert_eq!(heard(&socket), "READY=1\n");
        service.reloading();
        let reloading = heard(&socket);
        let moment = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(moment.trim_end().parse::<u64>().unwrap() > 0);
        service.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1\n");
        service.stopping();
        assert_eq!(heard(&socket), "STOPPING=1\n");
    }

    #[test]
    fn x4_a_status_cannot_say_more_than_a_status() {
        let (_dir, socket, service) = listening();
        service.status("3 running\nSTOPPING=1\u{1b}[2J");
        assert_eq!(heard(&socket), "STATUS=3 running STOPPING=1 [2J\n");
        service.status(&"é".repeat(10_000));
        assert_eq!(heard(&socket).chars().count(), "STATUS=\n".len() + STATUS_KEPT);
    }

    #[test]
    fn an_abstract_socket_is_heard_too() {
        let name = format!("@hearth-test-{}", std::process::id());
        let abstract_address = address(OsStr::new(&name)).unwrap();
        let socket = UnixDatagram::bind_addr(&abstract_address).unwrap();
        Service { address: Some(abstract_address), watchdog: None }.ready();
        assert_eq!(heard(&socket), "READY=1\n");
    }

    #[test]
    fn l11_a_listener_is_handed_over_under_its_name() {
        use nix::sys::socket::{ControlMessageOwned, recvmsg};
        let (dir, socket, service) = listening();
        let path = dir.path().join("api");
        service.keep(&UnixListener::bind(&path).unwrap());
        assert_eq!(heard(&socket), "FDSTOREREMOVE=1\nFDNAME=api\n");
        let mut text = [0; 100];
        let mut iov = [io::IoSliceMut::new(&mut text)];
        let mut space = nix::cmsg_space!([i32; 1]);
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty()).unwrap();
        let rights = message.cmsgs().unwrap().next();
        assert!(matches!(rights, Some(ControlMessageOwned::ScmRights(descriptors)) if descriptors.len() == 1));
        assert_eq!(message.iovs().next().unwrap(), b"FDSTORE=1\nFDNAME=api\n");
    }

    #[test]
    fn nobody_listening_or_nobody_reading_holds_nothing_up() {
        Service::default().ready();
        let (dir, socket, service) = listening();
        let full = UnixDatagram::unbound().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.send_to_addr(b"WATCHDOG=1\n", service.address.as_ref().unwrap()).is_ok() {}
        service.alive();
        drop((socket, dir));
        service.stopping();
    }
}
