//! What the engine in memory is given: images, faults, and how commands go.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::docker::{EngineError, ExecEnd, ExecSpec, Image, Labels, Output, Stream};

/// An image with the files that are looked at.
#[derive(Debug, Clone)]
pub struct FakeImage {
    pub image: Image,
    /// By absolute path. A link's target is a path of this map, or leads nowhere.
    pub files: BTreeMap<String, FakeFile>,
}

/// Something at a path of an image.
#[derive(Debug, Clone)]
pub enum FakeFile {
    File { content: Vec<u8>, executable: bool },
    Directory,
    Symlink { target: String },
}

impl FakeImage {
    /// Returns an image whose `USER` is `name`, with that uid in its `/etc/passwd`.
    pub fn with_user(id: &str, name: &str, uid: u32) -> Self {
        let passwd = format!("root:x:0:0::/root:/bin/sh\n{name}:x:{uid}:{uid}::/home/{name}:/bin/sh\n");
        let image = Image {
            id: format!("sha256:{id}"),
            digest: None,
            user: name.to_owned(),
            env: Vec::new(),
            volumes: Vec::new(),
            labels: Labels::new(),
        };
        let files = BTreeMap::from([("/etc/passwd".to_owned(), FakeFile::file(passwd))]);
        Self { image, files }
    }
}

impl FakeFile {
    /// Returns a file that is not executable.
    pub fn file(content: impl Into<Vec<u8>>) -> Self {
        Self::File { content: content.into(), executable: false }
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It fails and nothing was done.
    Before(EngineError),
    /// It was done, and the answer is an error all the same.
    After(EngineError),
    /// It is never answered, and nothing was done.
    Hang,
}

/// Decides how each call of one engine's handle goes. A call waits for `begin` before it is made and for `end` after.
#[async_trait]
pub trait Conductor: Send + Sync {
    async fn begin(&self, call: &'static str, what: &str) -> Option<Fault>;
    async fn end(&self, call: &'static str, what: &str);
}

/// How a command goes.
#[derive(Debug, Clone)]
pub struct Ran {
    pub output: Vec<Output>,
    /// `None`: it runs until its deadline.
    pub end: Option<ExecEnd>,
}

impl Ran {
    /// Returns a command that prints `stdout` and ends with 0.
    pub fn well(stdout: impl Into<bytes::Bytes>) -> Self {
        let output = Output { stream: Stream::Stdout, bytes: stdout.into() };
        Self { output: vec![output], end: Some(ExecEnd::Exited(0)) }
    }
}

/// A script of commands: told the container's name and the command.
pub type Script = dyn Fn(&str, &ExecSpec) -> Ran + Send + Sync;
