//! What is found out of an image before it is built from, and homes that pass from one image's user to another's.

use std::path::Path;
use std::sync::Arc;

use hearthd::build::{HandOver, HandOverError, ImageError, Images, Refusal, ResolvedImage, UserRefusal, hand_over};
use hearthd::docker::{BollardEngine, Engine, FileKind, labels};
use hearthd::model::InstanceName;
use tokio_util::task::TaskTracker;

use crate::support::command::docker_sweep;
use crate::support::{Image, docker, unique};

/// An engine and an instance name of one's own.
struct Bench {
    engine: Arc<dyn Engine>,
    instance: InstanceName,
    tasks: TaskTracker,
    images: Images,
}

impl Bench {
    fn new() -> Self {
        let engine: Arc<dyn Engine> = Arc::new(BollardEngine::connect(Path::new("/var/run/docker.sock")));
        let (instance, tasks) = (unique().parse::<InstanceName>().unwrap(), TaskTracker::new());
        let images = Images::new(engine.clone(), instance.clone(), tasks.clone());
        Self { engine, instance, tasks, images }
    }

    async fn resolve(&self, image: &Image, org_user: Option<&str>) -> Result<ResolvedImage, ImageError> {
        let tag = image.import();
        let image = self.engine.image(&tag.tag).await.unwrap().unwrap();
        assert_eq!(image.id, tag.id);
        let resolved = self.images.resolve("dev", &image, org_user).await;
        let left = self.engine.containers(self.instance.as_str()).await.unwrap();
        assert!(left.is_empty(), "left behind: {left:?}");
        resolved
    }

    async fn refusal(&self, image: &Image) -> Refusal {
        match self.resolve(image, None).await {
            Err(ImageError::Refused { why, .. }) => why,
            other => panic!("not refused: {other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let label = format!("label=hearth.instance={}", self.instance);
        docker_sweep(&["ps", "-aq", "--filter", &label], &["rm", "-fv"]);
        docker_sweep(&["volume", "ls", "-q", "--filter", &label], &["volume", "rm", "-f"]);
    }
}

fn who(resolved: &ResolvedImage) -> (&str, u32, u32, &[u32]) {
    (&resolved.username, resolved.uid, resolved.gid, &resolved.groups)
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_user_as_name_uid_and_with_a_group() {
    let bench = Bench::new();
    let image = |user: &str| {
        let image = Image::busybox().user("dev", 1500).group("sudo:x:27:dev").group("staff:x:50:");
        image.change(&format!("USER {user}"))
    };
    for user in ["dev", "1500"] {
        let resolved = bench.resolve(&image(user), None).await.unwrap();
        assert_eq!(who(&resolved), ("dev", 1500, 1500, &[27][..]), "{user}");
        assert_eq!((resolved.shell.as_str(), resolved.configure), ("/bin/sh", FileKind::Missing));
    }
    for user in ["dev:staff", "1500:50", "1500:staff", "dev:50"] {
        assert_eq!(who(&bench.resolve(&image(user), None).await.unwrap()), ("dev", 1500, 50, &[][..]), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_images_without_a_user_that_would_do() {
    let bench = Bench::new();
    assert_eq!(bench.refusal(&Image::busybox()).await, Refusal::User(UserRefusal::Missing));
    assert_eq!(bench.refusal(&Image::empty()).await, Refusal::User(UserRefusal::Missing));
    assert_eq!(bench.refusal(&Image::busybox().change("USER root")).await, Refusal::User(UserRefusal::Root));
    let unnamed = Image::busybox().change("USER 4242:4242");
    assert_eq!(bench.refusal(&unnamed).await, Refusal::User(UserRefusal::Unnamed { uid: 4242 }));
    let nothing = Image::empty().change("USER 1000");
    assert_eq!(bench.refusal(&nothing).await, Refusal::User(UserRefusal::Unnamed { uid: 1000 }));
    let eve = Image::busybox().change("USER eve");
    assert_eq!(bench.refusal(&eve).await, Refusal::User(UserRefusal::Unknown { name: "eve".into() }));
    let org = Image::busybox().user("coder", 1000);
    assert_eq!(who(&bench.resolve(&org, Some("coder")).await.unwrap()), ("coder", 1000, 1000, &[][..]));
    let kept =
        bench.resolve(&Image::busybox().user("own", 1000).user("org", 1001).change("USER own"), Some("org")).await;
    assert_eq!(kept.unwrap().username, "own");
    let wrong = bench.resolve(&Image::busybox(), Some("coder")).await.unwrap_err().to_string();
    assert!(wrong.contains("the org's `user` `coder` is not in its /etc/passwd"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_homes_of_all_kinds() {
    let bench = Bench::new();
    let elsewhere = Image::busybox().passwd("coder:x:1000:1000::/srv/home:/bin/zsh").change("USER coder");
    let resolved = bench.resolve(&elsewhere, None).await.unwrap();
    assert_eq!((resolved.username.as_str(), resolved.shell.as_str()), ("coder", "/bin/zsh"));
    bench.resolve(&Image::coder().without("/home"), None).await.unwrap();
    bench.resolve(&Image::coder().file("/home/coder/.profile", 0o644, "x"), None).await.unwrap();
    let link = Image::coder().without("/home/coder").symlink("/home/coder", "/data");
    let target = Refusal::HomeIsLink { home: "/home/coder".into(), target: "/data".into() };
    assert_eq!(bench.refusal(&link).await, target);
    let file = Image::coder().without("/home/coder").file("/home/coder", 0o644, "x");
    assert_eq!(bench.refusal(&file).await, Refusal::HomeIsNoDirectory { home: "/home/coder".into() });
    // All homes elsewhere is the host's affair: Docker mounts there.
    bench
        .resolve(&Image::coder().without("/home").dir("/data", 0o755, (0, 0)).symlink("/home", "data"), None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_a_volume_below_the_home_is_refused() {
    let bench = Bench::new();
    for fine in ["VOLUME /home/coder", "VOLUME /home/coder/", "VOLUME /data /home/coder2", "VOLUME /home"] {
        bench.resolve(&Image::coder().change(fine), None).await.unwrap();
    }
    for below in ["/home/coder/.cache", "/home/coder/a/b", "/home//coder/./x/../y"] {
        let refusal = bench.refusal(&Image::coder().change(&format!("VOLUME {below}"))).await;
        assert!(matches!(&refusal, Refusal::VolumeInHome { home, .. } if home == "/home/coder"), "{refusal:?}");
    }
    // By another way to the same place.
    let linked = Image::coder().symlink("/work", "/home/coder").change("VOLUME /work/cache");
    assert!(matches!(bench.refusal(&linked).await, Refusal::VolumeInHome { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_configure_and_labels_and_entrypoints_of_an_image() {
    let bench = Bench::new();
    let image = Image::coder().configure("true").change("ENTRYPOINT [\"/bin/false\"]").change("HEALTHCHECK CMD false");
    let image = image.label(labels::INSTANCE, bench.instance.as_str()).label(labels::WORKSPACE, "alice/main");
    let resolved = bench.resolve(&image, None).await.unwrap();
    assert_eq!(resolved.configure, FileKind::File { executable: true });
    let plain = bench.resolve(&Image::coder().file("/coder/configure", 0o644, "x"), None).await.unwrap();
    assert_eq!(plain.configure, FileKind::File { executable: false });
    let linked = Image::coder().file("/opt/setup", 0o755, "x").symlink("/coder/configure", "../opt/setup");
    assert_eq!(bench.resolve(&linked, None).await.unwrap().configure, FileKind::File { executable: true });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_looked_at_once() {
    let bench = Bench::new();
    let tag = Image::coder().import();
    let image = bench.engine.image(&tag.tag).await.unwrap().unwrap();
    let first = bench.images.resolve("dev", &image, None).await.unwrap();
    drop(tag);
    assert_eq!(bench.engine.image(&image.id).await.unwrap(), None);
    assert_eq!(bench.images.resolve("dev", &image, None).await.unwrap(), first);
    assert!(bench.images.resolve("dev", &image, Some("other")).await.is_err(), "another question needs another look");
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_a_home_passes_to_the_user_of_another_image() {
    let bench = Bench::new();
    let image = Image::coder().import();
    let volume = format!("{}.alice.main.home", bench.instance);
    let labels = labels::passing_labels(&bench.instance, "test");
    bench.engine.create_volume(&volume, &labels).await.unwrap();
    let mounted = format!("{volume}:/h");
    let in_home = |script: &str| {
        docker(&["run", "--rm", "--network=none", "-v", &mounted, &image.tag, "/bin/sh", "-c", script]).ok()
    };
    docker(&["run", "--rm", "-u", "0", "-v", &mounted, &image.tag, "/bin/sh", "-c", FILL]).ok();
    let home = |from, to| HandOver {
        hearth: env!("CARGO_BIN_EXE_hearth").into(),
        image: image.id.clone(),
        volume: volume.clone(),
        from,
        to,
    };
    let give = async |from, to| hand_over(&bench.engine, &bench.instance, &bench.tasks, home(from, to)).await;
    let owned = give((1000, 1000), (2000, 2001)).await.unwrap();
    assert_eq!((owned.given, owned.failed, owned.error), (1003, 0, None));
    assert_eq!(
        in_home("cd /h; stat -c '%u:%g %n' . a a/f1 link root"),
        "2000:2001 .\n2000:2001 a\n2000:2001 a/f1\n2000:2001 link\n0:0 root\n"
    );
    assert_eq!(give((1000, 1000), (2000, 2001)).await.unwrap().given, 0);
    let refused = give((0, 0), (2000, 2001)).await.unwrap_err();
    assert!(matches!(&refused, HandOverError::Failed { why, .. } if why.contains("the uid is not 0")), "{refused}");
    let left = bench.engine.containers(bench.instance.as_str()).await.unwrap();
    assert!(left.is_empty(), "left behind: {left:?}");
}

const FILL: &str = "cd /h; mkdir a; cd a; for i in $(seq 1000); do : > f$i; done; cd ..; ln -s /etc/passwd link; \
                    chown -R -h 1000:1000 .; : > root";
