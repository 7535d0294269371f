//! Public keys of people and of hosts, as lines of text: checked here, used by the gateway and by `git`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::model::QuantityError;

/// What people may come with and hosts may be pinned by.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
];

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, QuantityError> {
    Err(QuantityError { message: message.into(), hint: hint.into() })
}

/// Reads a person's public key, `ssh-ed25519 AAAA… comment`, as one line.
///
/// # Errors
/// When it is not one.
pub fn read(text: &str) -> Result<String, QuantityError> {
    const HINT: &str = "paste the line of a `.pub` file: `ssh-ed25519 AAAA… alice@laptop`";
    if text.contains("PRIVATE KEY") {
        return wrong("this is a private key", format!("take it out of the file and make a new one; {HINT}"));
    }
    let line = text.trim();
    if line.contains(['\n', '\r']) {
        return wrong("an ssh key is one line", HINT);
    }
    let mut parts = line.split_ascii_whitespace();
    let (kind, blob) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !TYPES.contains(&kind) && line.split_ascii_whitespace().any(|part| TYPES.contains(&part)) {
        return wrong("options before an ssh key are not supported", "begin with the key's type: `ssh-ed25519 AAAA…`");
    }
    check(kind, blob, HINT)?;
    Ok(line.to_owned())
}

/// Returns what tells keys apart: type and key, without the comment.
pub fn identity(line: &str) -> String {
    line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Reads a line of `known_hosts`; returns the patterns of its hosts.
///
/// # Errors
/// When it is not one.
pub fn known_host(text: &str) -> Result<Vec<String>, QuantityError> {
    const HINT: &str = "write what `ssh-keyscan HOST` prints: `git.acme.example ssh-ed25519 AAAA…`";
    let mut parts = text.split_ascii_whitespace().peekable();
    if let Some(marker) = parts.next_if(|part| part.starts_with('@'))
        && !["@cert-authority", "@revoked"].contains(&marker)
    {
        return wrong(
            format!("`{marker}` is not a marker of known_hosts"),
            "write `@cert-authority`, `@revoked` or none",
        );
    }
    let hosts = parts.next().unwrap_or_default();
    if hosts.starts_with('#') || hosts.is_empty() || TYPES.contains(&hosts) {
        return wrong("this line of known_hosts names no host", HINT);
    }
    check(parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), HINT)?;
    Ok(hosts.split(',').map(str::to_owned).collect())
}

/// Returns whether the patterns of a line of `known_hosts` are about a host. One that is hashed may be.
pub fn is_about(patterns: &[String], host: &str) -> bool {
    let bare = |text: &str| text.trim_start_matches('[').split(']').next().unwrap_or_default().to_lowercase();
    patterns
        .iter()
        .any(|pattern| pattern.starts_with("|1|") || pattern.contains(['*', '?']) || bare(pattern) == bare(host))
}

/// Checks that type and key belong together.
fn check(kind: &str, blob: &str, hint: &str) -> Result<(), QuantityError> {
    if kind == "ssh-dss" {
        return wrong("DSA keys are refused everywhere", "make a new one: `ssh-keygen -t ed25519`");
    }
    if !TYPES.contains(&kind) {
        let shown: String = kind.chars().take(40).collect();
        return wrong(format!("`{shown}` is not a type of ssh key"), hint);
    }
    let Ok(blob) = STANDARD.decode(blob) else {
        return wrong(format!("the `{kind}` key is cut off or damaged"), hint);
    };
    let fields = fields(&blob);
    let whole = fields.as_ref().is_some_and(|fields| match (kind, fields.as_slice()) {
        ("ssh-ed25519", [name, key]) => *name == kind.as_bytes() && key.len() == 32,
        ("ssh-rsa", [name, _, _]) => *name == kind.as_bytes(),
        (_, [name, _, ..]) => *name == kind.as_bytes(),
        _ => false,
    });
    if !whole {
        return wrong(format!("the `{kind}` key is cut off or damaged"), hint);
    }
    let modulus = fields.as_ref().and_then(|fields| fields.get(2)).map_or(0, |modulus| modulus.len());
    if kind == "ssh-rsa" && modulus < 256 {
        return wrong("RSA keys of less than 2048 bits are refused", "make a new one: `ssh-keygen -t ed25519`");
    }
    Ok(())
}

/// Splits a key into its fields, each a length of four bytes and that many bytes.
fn fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        fields.push(field);
        blob = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn c2_ssh_keys() {
        assert_eq!(read(&format!(" {KEY} alice@laptop\n")).unwrap(), format!("{KEY} alice@laptop"));
        assert_eq!(identity(&format!("{KEY} alice@laptop")), KEY);
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &KEY[..KEY.len() - 4],
            &KEY.replace("ssh-ed25519", "ssh-rsa"),
            &format!("from=\"10.0.0.1\" {KEY}"),
            &format!("{KEY}\n{KEY}"),
            "ssh-dss AAAA",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn c2_known_hosts() {
        for good in ["git.acme.example", "git.acme.example,10.0.0.9", "[git.acme.example]:2222", "|1|abc=|def="] {
            let patterns = known_host(&format!("{good} {KEY} comment")).unwrap();
            assert!(is_about(&patterns, "git.acme.example"), "{good}");
        }
        assert!(!is_about(&known_host(&format!("other.example {KEY}")).unwrap(), "git.acme.example"));
        assert!(known_host(&format!("@cert-authority *.acme.example {KEY}")).is_ok());
        for bad in ["", "# comment", KEY, "git.acme.example", "git.acme.example ssh-ed25519", "@x git.acme.example"] {
            assert!(known_host(bad).is_err(), "{bad}");
        }
    }
}
