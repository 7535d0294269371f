//! What a container uses of the machine, as its cgroup says. Both versions of cgroups; what cannot be read is not known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::Process;

/// What the kernel has counted for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumption {
    /// Since the container was started.
    pub cpu: Option<Duration>,
    /// Bytes, caches that can be given back not counted.
    pub memory: Option<u64>,
}

/// Where the kernel shows cgroups.
const ROOT: &str = "/sys/fs/cgroup";

/// Reads what a container uses; `pid` is one of its processes on the host. It blocks, for microseconds.
pub fn consumption(pid: u32, container: &str) -> Option<Consumption> {
    let text = Process::of(pid, container).ok()?.cgroups()?;
    Some(read(Path::new(ROOT), &text, container))
}

fn read(root: &Path, cgroups: &str, container: &str) -> Consumption {
    let cpu = directory(root, cgroups, "cpuacct", container).and_then(|(version, directory)| match version {
        Version::One => number(&directory, "cpuacct.usage").map(Duration::from_nanos),
        Version::Two => field(&directory, "cpu.stat", "usage_usec").map(Duration::from_micros),
    });
    let memory = directory(root, cgroups, "memory", container).and_then(|(version, directory)| {
        let (used, cached) = match version {
            Version::One => {
                (number(&directory, "memory.usage_in_bytes")?, field(&directory, "memory.stat", "total_inactive_file"))
            }
            Version::Two => (number(&directory, "memory.current")?, field(&directory, "memory.stat", "inactive_file")),
        };
        Some(used.saturating_sub(cached.unwrap_or_default()))
    });
    Consumption { cpu, memory }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Finds the directory of the container's own cgroup that has a controller, not one below that it made itself.
fn directory(root: &Path, cgroups: &str, controller: &str, container: &str) -> Option<(Version, PathBuf)> {
    let found = |wanted: &dyn Fn(&str, &str) -> bool| {
        cgroups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            wanted(number, controllers)
                .then(|| (controllers, own(path, container)))
                .and_then(|(c, path)| Some((c, path?)))
        })
    };
    let of_controller = |_: &str, controllers: &str| controllers.split(',').any(|name| name == controller);
    if let Some((controllers, path)) = found(&of_controller) {
        return Some((Version::One, root.join(controllers).join(path)));
    }
    let (_, path) = found(&|number, controllers| number == "0" && controllers.is_empty())?;
    Some((Version::Two, root.join(path)))
}

/// Cuts a path of `/proc/PID/cgroup` behind the container's own part.
fn own<'a>(path: &'a str, container: &str) -> Option<&'a str> {
    let end = path.find(container)? + container.len();
    let rest = path.get(end..)?.find('/').map_or(path.len(), |slash| end + slash);
    let own = path.get(..rest)?.trim_start_matches('/');
    (!own.split('/').any(|part| part == "..")).then_some(own)
}

fn number(directory: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

fn field(directory: &Path, file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, directory: &str, files: &[(&str, &str)]) {
        let directory = root.join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }

    #[test]
    fn both_versions_are_read_and_what_is_not_there_is_not_known() {
        let id = "a".repeat(64);
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, &format!("cpu,cpuacct/docker/{id}"), &[("cpuacct.usage", "1500000000\n")]);
        let memory =
            [("memory.usage_in_bytes", "5000\n"), ("memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n")];
        write(root, &format!("memory/docker/{id}"), &memory);
        let v1 = format!("5:cpu,cpuacct:/docker/{id}\n4:memory:/docker/{id}\n0::/docker/{id}\n");
        let expected = Consumption { cpu: Some(Duration::from_millis(1500)), memory: Some(3000) };
        assert_eq!(read(root, &v1, &id), expected);

        let scope = format!("system.slice/docker-{id}.scope");
        let stat = ("cpu.stat", "usage_usec 2500000\nuser_usec 1\n");
        write(root, &scope, &[stat, ("memory.current", "7000\n"), ("memory.stat", "anon 1\ninactive_file 1000\n")]);
        let expected = Consumption { cpu: Some(Duration::from_millis(2500)), memory: Some(6000) };
        assert_eq!(read(root, &format!("0::/{scope}/below/it\n"), &id), expected);

        assert_eq!(read(root, "0::/elsewhere\n", &id), Consumption { cpu: None, memory: None });
        assert_eq!(read(root, &format!("0::/../{id}\n"), &id), Consumption { cpu: None, memory: None });
    }
}
