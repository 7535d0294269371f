//! The environment of everything that runs in a workspace (design section 5), and of the container itself.

use crate::config::Effective;
use crate::model::BuildNumber;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const HEARTH_DIR: &str = "/usr/local/bin";
const LANG: &str = "C.UTF-8";

/// Who and what a container is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) workspace: &'a Effective,
    pub(super) username: &'a str,
    pub(super) shell: &'a str,
    /// The image's `ENV`, `NAME=value`.
    pub(super) image_env: &'a [String],
    pub(super) image_digest: Option<&'a str>,
    pub(super) build: BuildNumber,
}

/// Returns the container's environment, `NAME=value`: the image's, the configuration's over it, ours over both.
pub(super) fn environment(subject: &Subject<'_>) -> Vec<String> {
    let mut variables: Vec<(String, String)> = vec![("PATH".into(), PATH.into()), ("LANG".into(), LANG.into())];
    let mut set = |name: &str, value: String| match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => variables.push((name.to_owned(), value)),
    };
    for (name, value) in subject.image_env.iter().filter_map(|pair| pair.split_once('=')) {
        set(name, value.to_owned());
    }
    for (name, value) in &subject.workspace.env {
        set(name, value.value.clone());
    }
    for (name, value) in ours(subject) {
        set(name, value);
    }
    if let Some((_, path)) = variables.iter_mut().find(|(name, _)| name == "PATH") {
        *path = with_hearth(path);
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// `hearth` is found whatever the image or the configuration say (rule H1).
fn with_hearth(path: &str) -> String {
    match path.split(':').any(|dir| dir == HEARTH_DIR) {
        true => path.to_owned(),
        false if path.is_empty() => PATH.to_owned(),
        false => format!("{path}:{HEARTH_DIR}"),
    }
}

fn ours(subject: &Subject<'_>) -> Vec<(&'static str, String)> {
    let Subject { workspace, username, .. } = subject;
    let resources = &workspace.resources;
    vec![
        ("HOME", format!("/home/{username}")),
        ("USER", (*username).to_owned()),
        ("LOGNAME", (*username).to_owned()),
        ("SHELL", subject.shell.to_owned()),
        ("HEARTH", "1".into()),
        ("HEARTH_WORKSPACE", workspace.id.to_string()),
        ("HEARTH_USER", workspace.id.user.to_string()),
        ("HEARTH_ORG", workspace.org.to_string()),
        ("HEARTH_IMAGE", workspace.image.value.clone()),
        ("HEARTH_IMAGE_DIGEST", subject.image_digest.unwrap_or_default().to_owned()),
        ("HEARTH_BUILD", subject.build.to_string()),
        ("HEARTH_CPUS", resources.cpus.value.map(|cpus| cpus.as_f64().to_string()).unwrap_or_default()),
        ("HEARTH_MEMORY", resources.memory.value.map(|memory| memory.0.to_string()).unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h1_hearth_is_on_every_path() {
        assert_eq!(with_hearth("/opt/bin:/bin"), "/opt/bin:/bin:/usr/local/bin");
        assert_eq!(with_hearth("/usr/local/bin:/bin"), "/usr/local/bin:/bin");
        assert_eq!(with_hearth(""), PATH);
    }
}
