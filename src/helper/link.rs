//! The helper's connection to hearthd: dialled without blocking, frames in, replies out, descriptors in order.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg, send, socket,
};

use super::protocol::{self, Decoder, Frame, MAX_DESCRIPTORS, MAX_REPLY, MAX_REQUEST, Reply};

/// Replies that hearthd does not take are kept up to this; then the connection is given up.
const MOST_UNSENT: usize = 1 << 20;

/// A connection.
pub(super) struct Link {
    socket: OwnedFd,
    decoder: Decoder,
    descriptors: VecDeque<OwnedFd>,
    unsent: Vec<u8>,
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub(super) struct Broken;

impl Link {
    /// Dials and says hello.
    pub(super) fn dial(path: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
        let decoder = Decoder::new(MAX_REQUEST);
        let mut link = Self { socket, decoder, descriptors: VecDeque::new(), unsent: Vec::new() };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        link.reply(&Reply::Hello { protocol: protocol::VERSION, version });
        link.send().map_err(|Broken| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(link)
    }

    /// Returns the socket with what to wait for.
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, !self.unsent.is_empty());
        (self.socket.as_fd(), events)
    }

    /// Puts a reply on its way.
    pub(super) fn reply(&mut self, reply: &Reply) {
        if let Ok(frame) = protocol::encode(reply, 0, MAX_REPLY) {
            self.unsent.extend(frame);
        }
    }

    /// Sends what hearthd takes.
    pub(super) fn send(&mut self) -> Result<(), Broken> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        while !self.unsent.is_empty() {
            match send(self.socket.as_raw_fd(), &self.unsent, flags) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) if self.unsent.len() < MOST_UNSENT => break,
                Err(_) => return Err(Broken),
            }
        }
        Ok(())
    }

    /// Reads once what there is.
    pub(super) fn receive(&mut self) -> Result<(), Broken> {
        let mut bytes = vec![0; 64 << 10];
        let mut control = cmsg_space!([RawFd; MAX_DESCRIPTORS]);
        let length = {
            let mut pieces = [io::IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
            let socket = self.socket.as_raw_fd();
            let message = match recvmsg::<()>(socket, &mut pieces, Some(&mut control), flags) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(_) => return Err(Broken),
            };
            for control in message.cmsgs().map_err(|_| Broken)? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    self.descriptors.extend(fds.into_iter().map(own));
                }
            }
            message.bytes
        };
        if length == 0 {
            return Err(Broken);
        }
        self.decoder.push(&bytes[..length]);
        Ok(())
    }

    /// Returns the next frame with its descriptors.
    pub(super) fn take(&mut self) -> Result<Option<(Frame, Vec<OwnedFd>)>, Broken> {
        let Some(frame) = self.decoder.take().map_err(|_| Broken)? else { return Ok(None) };
        if self.descriptors.len() < frame.descriptors {
            return Err(Broken);
        }
        let descriptors = self.descriptors.drain(..frame.descriptors).collect();
        Ok(Some((frame, descriptors)))
    }
}

#[expect(unsafe_code, reason = "a received descriptor is a bare number, and ours alone")]
fn own(fd: RawFd) -> OwnedFd {
    unsafe { OwnedFd::from_raw_fd(fd) }
}
