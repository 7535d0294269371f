//! The system-wide configuration of git and ssh in a container (rule H1): it points at what inject brings, and whatever
//! the user says in `~/.gitconfig` and `~/.ssh` wins.
//!
//! git gets a marked block at the end of `/etc/gitconfig`, below every file of the user's. It is no include of a file in
//! `/run/hearth`, which git, run by another user of the container, would end at with an error.
//!
//! ssh takes the first value that it finds and reads the user's file first. Ours goes to `/etc/ssh/ssh_config.d` where
//! that is read, for dpkg asks about a changed `ssh_config`, and a package that is installed in a hook cannot be answered.

use std::io;
use std::path::Path;

use super::bundle::{Git, RUN_DIR};
use super::nofollow::Dir;

const BEGIN: &[u8] = b"# hearth: begin, written at every start of the container";
const END: &[u8] = b"# hearth: end";
const DROP_IN: &str = "00-hearth.conf";

/// Writes both below `etc`; returns what could not be written, with why. `has_ssh`: the image has an ssh client.
pub(super) fn write(etc: &Path, git: &Git, has_ssh: bool) -> Vec<(&'static str, io::Error)> {
    let dir = match Dir::open(etc) {
        Ok(dir) => dir,
        Err(error) => return vec![("/etc", error)],
    };
    let git = write_block(&dir, "gitconfig", git_block(git).as_deref(), Place::End);
    let ssh = write_ssh(&dir, has_ssh);
    [("/etc/gitconfig", git), ("/etc/ssh", ssh)]
        .into_iter()
        .filter_map(|(what, done)| Some((what, done.err()?)))
        .collect()
}

fn write_ssh(etc: &Dir, has_ssh: bool) -> io::Result<()> {
    let ssh = etc.enter_or_make("ssh", 0o755)?;
    let config = ssh.read("ssh_config")?;
    let reads_drop_ins = config.as_ref().is_some_and(|config| includes_drop_ins(&config.content));
    // With no ssh in the image one may come later, with a file of its own.
    if reads_drop_ins || !has_ssh {
        let drop_ins = ssh.enter_or_make("ssh_config.d", 0o755)?;
        let before = drop_ins.read(DROP_IN)?;
        let text =
            format!("# Written by hearth at every start of the container; ~/.ssh/config wins.\n{}", ssh_settings());
        return drop_ins.replace(DROP_IN, text.as_bytes(), 0o644, before.as_ref());
    }
    write_block(&ssh, "ssh_config", Some(&ssh_settings()), Place::Top)
}

fn write_block(dir: &Dir, name: &str, block: Option<&str>, place: Place) -> io::Result<()> {
    let before = dir.read(name)?;
    let text = before.as_ref().map_or(&b""[..], |found| &found.content);
    let new = splice(text, block, place);
    if new == text {
        return Ok(());
    }
    dir.replace(name, &new, 0o644, before.as_ref())
}

/// The settings of ssh. Naming one identity takes the default ones away, so they are named before ours.
fn ssh_settings() -> String {
    let mut text = String::new();
    for own in ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"] {
        text.push_str(&format!("IdentityFile ~/.ssh/id_{own}\n"));
    }
    text.push_str(&format!("IdentityFile {RUN_DIR}/git/id_ed25519\n"));
    text.push_str(&format!(
        "GlobalKnownHostsFile {RUN_DIR}/git/known_hosts /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n"
    ));
    text
}

fn git_block(git: &Git) -> Option<String> {
    let line = |key: &str, value: &Option<String>| Some(format!("\t{key} = {}\n", git_quoted(value.as_deref()?)));
    let lines = [line("name", &git.name), line("email", &git.email)];
    let lines: String = lines.into_iter().flatten().collect();
    (!lines.is_empty()).then(|| format!("[user]\n{lines}"))
}

fn git_quoted(value: &str) -> String {
    let plain: String = value.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Whether a system's ssh_config reads `ssh_config.d/*.conf` for every host.
fn includes_drop_ins(config: &[u8]) -> bool {
    let config = String::from_utf8_lossy(config);
    for line in config.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, values) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        if ["host", "match"].iter().any(|scope| key.eq_ignore_ascii_case(scope)) {
            return false;
        }
        let is_ours = |value: &str| {
            let value = value.trim_matches('"');
            let value = value.strip_prefix("/etc/ssh/").unwrap_or(value);
            matches!(value, "ssh_config.d/*.conf" | "ssh_config.d/*")
        };
        if key.eq_ignore_ascii_case("include") && values.split_whitespace().any(is_ours) {
            return true;
        }
    }
    false
}

/// Where a block goes when the file has none yet.
#[derive(Debug, Clone, Copy)]
enum Place {
    Top,
    End,
}

/// Returns the text with our marked block in it, in place of the one that it had; nothing else of it changes.
fn splice(text: &[u8], block: Option<&str>, place: Place) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let at = |mark: &[u8], from: usize| {
        lines[from..].iter().position(|line| line.trim_ascii_end() == mark).map(|found| from + found)
    };
    let old = at(BEGIN, 0).and_then(|begin| Some((begin, at(END, begin)?)));
    let (before, after) = match (old, place) {
        (Some((begin, end)), _) => (lines[..begin].concat(), lines[end + 1..].concat()),
        (None, Place::Top) => (vec![], text.to_vec()),
        (None, Place::End) => (text.to_vec(), vec![]),
    };
    let Some(block) = block else { return [before, after].concat() };
    let newline: &[u8] = if before.is_empty() || before.ends_with(b"\n") { b"" } else { b"\n" };
    [&before, newline, BEGIN, b"\n", block.as_bytes(), END, b"\n", &after].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::bundle::Secret;
    use super::*;

    fn git(name: Option<&str>, email: Option<&str>) -> Git {
        Git {
            private_key: Secret::new(vec![]),
            public_key: String::new(),
            known_hosts: vec![],
            name: name.map(String::from),
            email: email.map(String::from),
        }
    }

    fn etc() -> (tempfile::TempDir, std::path::PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap();
        (temp, path)
    }

    #[test]
    fn h1_a_block_is_put_in_once_changed_in_place_and_taken_out() {
        let text = b"[core]\n\tx = 1";
        let once = splice(text, Some("[user]\n"), Place::End);
        assert_eq!(String::from_utf8_lossy(&once).lines().count(), 5);
        assert_eq!(splice(&once, Some("[user]\n"), Place::End), once);
        let more = [&once[..], b"[more]\n"].concat();
        let changed = splice(&more, Some("[other]\n"), Place::End);
        assert!(changed.ends_with(b"[other]\n# hearth: end\n[more]\n"), "{}", String::from_utf8_lossy(&changed));
        assert_eq!(splice(&more, None, Place::End), b"[core]\n\tx = 1\n[more]\n");
        assert!(splice(b"Host x\n", Some("y\n"), Place::Top).ends_with(b"# hearth: end\nHost x\n"));
        assert_eq!(splice(b"", None, Place::End), b"");
    }

    #[test]
    fn h1_name_and_email_are_quoted_for_git() {
        let block = git_block(&git(Some("A \"B\" \\ C\n#;"), Some("a@b"))).unwrap();
        assert_eq!(block, "[user]\n\tname = \"A \\\"B\\\" \\\\ C#;\"\n\temail = \"a@b\"\n");
        assert_eq!(git_block(&git(None, None)), None);
    }

    #[test]
    fn h1_drop_ins_are_used_where_ssh_reads_them_for_every_host() {
        for (config, reads) in [
            ("# comment\nInclude /etc/ssh/ssh_config.d/*.conf\nHost *\n", true),
            ("include=\"ssh_config.d/*.conf\"\n", true),
            ("Host *\nInclude /etc/ssh/ssh_config.d/*.conf\n", false),
            ("#Include /etc/ssh/ssh_config.d/*.conf\n", false),
            ("Include /etc/other/*.conf\n", false),
            ("", false),
        ] {
            assert_eq!(includes_drop_ins(config.as_bytes()), reads, "{config}");
        }
    }

    #[test]
    fn h1_the_right_file_is_written_and_a_second_time_changes_nothing() {
        for (config, has_ssh, written) in [
            (Some("Include /etc/ssh/ssh_config.d/*.conf\n"), true, "ssh/ssh_config.d/00-hearth.conf"),
            (Some("Host *\n  SendEnv LANG\n"), true, "ssh/ssh_config"),
            (None, true, "ssh/ssh_config"),
            (None, false, "ssh/ssh_config.d/00-hearth.conf"),
        ] {
            let (_temp, etc) = etc();
            if let Some(config) = config {
                std::fs::create_dir(etc.join("ssh")).unwrap();
                std::fs::write(etc.join("ssh/ssh_config"), config).unwrap();
            }
            assert!(write(&etc, &git(Some("A"), None), has_ssh).is_empty());
            let text = std::fs::read_to_string(etc.join(written)).unwrap();
            assert!(text.contains("IdentityFile /run/hearth/git/id_ed25519"), "{text}");
            let config_now = std::fs::read_to_string(etc.join("ssh/ssh_config")).unwrap_or_default();
            assert!(config_now.ends_with(config.unwrap_or_default()));
            assert!(write(&etc, &git(Some("A"), None), has_ssh).is_empty());
            assert_eq!(std::fs::read_to_string(etc.join(written)).unwrap(), text);
        }
    }

    #[test]
    fn x3_what_is_a_link_is_left_alone_and_named() {
        let (temp, etc) = etc();
        symlink("/nonexistent", temp.path().join("gitconfig")).unwrap();
        symlink("/tmp", temp.path().join("ssh")).unwrap();
        let failed: Vec<&str> = write(&etc, &git(Some("A"), None), true).into_iter().map(|(what, _)| what).collect();
        assert_eq!(failed, ["/etc/gitconfig", "/etc/ssh"]);
    }
}
