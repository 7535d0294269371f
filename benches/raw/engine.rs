//! The same by hand: a container made, started and entered with nothing but the engine's own calls.

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig, NetworkingConfig};
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use futures_util::{StreamExt, future};
use tokio::runtime::Runtime;

/// The engine, without hearth.
pub(crate) struct Engine {
    runtime: Runtime,
    docker: Docker,
}

impl Engine {
    pub(crate) fn connect() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let docker = runtime.block_on(async { Docker::connect_with_unix_defaults().unwrap() });
        Self { runtime, docker }
    }

    /// Returns what is needed to make a container like one of hearth's: same image, mounts, network and limits. Its
    /// first process is one that waits, for hearth's own has nobody to talk to.
    pub(crate) fn model_of(&self, container: &str) -> ContainerCreateBody {
        let shown = self.runtime.block_on(self.docker.inspect_container(container, None)).unwrap();
        let (config, networks) = (shown.config.unwrap(), shown.network_settings.unwrap().networks.unwrap());
        let endpoints = networks.into_keys().map(|name| (name, Default::default())).collect();
        ContainerCreateBody {
            image: shown.image,
            user: config.user,
            env: config.env,
            entrypoint: Some(vec!["sleep".into(), "1000".into()]),
            host_config: shown.host_config,
            networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
            ..Default::default()
        }
    }

    /// Makes one container, and returns how long that took.
    pub(crate) fn build(&self, like: &ContainerCreateBody, execs: usize) -> Duration {
        self.build_all(std::slice::from_ref(like), execs)
    }

    /// Makes several at once, and returns how long it took until the last was done. Removing them is not counted.
    pub(crate) fn build_all(&self, like: &[ContainerCreateBody], execs: usize) -> Duration {
        self.runtime.block_on(async {
            let start = Instant::now();
            let made = future::join_all(like.iter().map(|like| self.one(like, execs))).await;
            let took = start.elapsed();
            for id in made {
                let force = RemoveContainerOptionsBuilder::new().force(true).build();
                self.docker.remove_container(&id, Some(force)).await.unwrap();
            }
            took
        })
    }

    async fn one(&self, like: &ContainerCreateBody, execs: usize) -> String {
        let id = self.docker.create_container(None, like.clone()).await.unwrap().id;
        self.docker.start_container(&id, None).await.unwrap();
        for _ in 0..execs {
            self.exec(&id).await;
        }
        id
    }

    async fn exec(&self, id: &str) {
        let config = ExecConfig {
            cmd: Some(vec!["true".into()]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.docker.create_exec(id, config).await.unwrap().id;
        match self.docker.start_exec(&exec, None::<StartExecOptions>).await.unwrap() {
            StartExecResults::Attached { mut output, .. } => while output.next().await.is_some() {},
            StartExecResults::Detached => unreachable!("the exec is attached"),
        }
        let ended = self.docker.inspect_exec(&exec).await.unwrap();
        assert_eq!(ended.exit_code, Some(0));
    }
}
