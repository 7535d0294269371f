//! Image references and the patterns that permit them, after Docker's own normalisation:
//! `dev` is `docker.io/library/dev:latest`.

use std::fmt;

use crate::model::QuantityError;

const HUB: &str = "docker.io";
const HINT: &str = "write it like `dev:2026` or `registry.acme.example/team/dev:latest`";

/// An image reference in full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host of the registry, with its port where there is one.
    pub registry: String,
    /// The path below the registry.
    pub repository: String,
    /// `None` only beside a digest.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl Reference {
    /// Returns the reference without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for Reference {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = |hint: &str| QuantityError { message: format!("`{text}` is not an image"), hint: hint.to_owned() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(bad("a digest is `sha256:` and 64 hexadecimal digits")),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        if !tag.is_none_or(is_tag) {
            return Err(bad("a tag is letters, digits, `_`, `.` and `-`, at most 128 of them"));
        }
        let (registry, repository) = split_registry(name);
        if !is_registry(&registry) || !repository.split('/').all(is_path_component) {
            let lower = text.to_lowercase();
            let lowered = lower != text && lower.parse::<Self>().is_ok();
            return Err(bad(if lowered { "names of images are lower case" } else { HINT }));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { registry, repository, tag, digest })
    }
}

/// What members may choose: `*` is any run of characters, `/` and `:` included; with no tag any tag will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    tagged: bool,
}

impl Pattern {
    /// Returns whether the image matches.
    pub fn permits(&self, image: &Reference) -> bool {
        wildcard(&self.text, &image.to_string()) || (!self.tagged && wildcard(&self.text, &image.name()))
    }
}

impl std::str::FromStr for Pattern {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let known = |c: char| c.is_ascii_alphanumeric() || "*._-/:@[]".contains(c);
        if text.is_empty() || !text.chars().all(known) {
            let message = format!("`{text}` is not a pattern for images");
            return Err(QuantityError { message, hint: "write it like `registry.acme.example/*`".to_owned() });
        }
        // `*` first may stand for a registry as well, so nothing is put before it.
        if text == "*" || text.starts_with("*/") {
            return Ok(Self { text: text.to_owned(), tagged: split_tag(text).1.is_some() });
        }
        let (name, tagged) = (split_tag(text).0, split_tag(text).1.is_some() || text.contains('@'));
        let (registry, repository) = split_registry(name);
        Ok(Self { text: format!("{registry}/{repository}{}", &text[name.len()..]), tagged })
    }
}

/// Returns whether an org permits an image: it is the org's own, or one of the patterns matches.
pub fn is_permitted(image: &str, org_image: &str, patterns: &[String]) -> bool {
    let Ok(image) = image.parse::<Reference>() else { return false };
    org_image.parse::<Reference>().is_ok_and(|own| own == image)
        || patterns.iter().filter_map(|pattern| pattern.parse::<Pattern>().ok()).any(|pattern| pattern.permits(&image))
}

/// Splits off a tag: what follows a `:` behind the last `/`.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last..].find(':') {
        Some(colon) => (&text[..last + colon], Some(&text[last + colon + 1..])),
        None => (text, None),
    }
}

/// Docker takes the part before the first `/` for a registry when it looks like a host.
fn split_registry(name: &str) -> (String, String) {
    let host = name.split_once('/').filter(|(first, _)| first.contains(['.', ':']) || *first == "localhost");
    match host {
        Some(("docker.io" | "index.docker.io", rest)) => (HUB.to_owned(), in_library(rest)),
        Some((registry, rest)) => (registry.to_owned(), rest.to_owned()),
        None => (HUB.to_owned(), in_library(name)),
    }
}

fn in_library(repository: &str) -> String {
    if repository.contains('/') { repository.to_owned() } else { format!("library/{repository}") }
}

/// Returns whether a text can be the host of a registry, with a port or without.
pub fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        }),
    };
    host_is_good && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_path_component(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inner) && text.ends_with(inner) && text.chars().all(|c| inner(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

/// Matches with `*` for any run of characters; linear but for the steps back to the last `*`.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((star_at, from)) = star {
            star = Some((star_at, from + 1));
            (p, t) = (star_at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn c2_references_are_normalised_as_docker_does() {
        for (text, expected) in [
            ("dev", "docker.io/library/dev:latest"),
            ("dev:2026", "docker.io/library/dev:2026"),
            ("acme/dev", "docker.io/acme/dev:latest"),
            ("docker.io/dev", "docker.io/library/dev:latest"),
            ("index.docker.io/acme/dev", "docker.io/acme/dev:latest"),
            ("localhost/dev", "localhost/dev:latest"),
            ("localhost:5000/dev:1", "localhost:5000/dev:1"),
            ("registry.acme.example/a/b/c", "registry.acme.example/a/b/c:latest"),
            ("[::1]:5000/dev", "[::1]:5000/dev:latest"),
        ] {
            assert_eq!(full(text), expected, "{text}");
        }
        let digest = format!("dev@sha256:{}", "a".repeat(64));
        assert_eq!(full(&digest), format!("docker.io/library/{digest}"));
        for bad in ["", "Dev", "dev:", "dev:a b", "/dev", "dev/", "a//b", "dev@sha256:12", "-a.b/dev", "dev:-1", "é"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn c2_patterns_permit_any_run_and_without_a_tag_any_tag() {
        let permits = |pattern: &str, image: &str| is_permitted(image, "own", &[pattern.to_owned()]);
        for (pattern, image) in [
            ("dev", "dev"),
            ("dev", "dev:2026"),
            ("dev", "docker.io/library/dev:2026"),
            ("dev:2026", "dev:2026"),
            ("dev:2026*", "dev:2026-07"),
            ("registry.acme.example/*", "registry.acme.example/dev:2026"),
            ("registry.acme.example/*", "registry.acme.example/a/b/c"),
            ("registry.acme.example/*:stable", "registry.acme.example/a/b:stable"),
            ("*", "registry.acme.example/a/b:stable"),
            ("*/dev", "registry.acme.example/dev:1"),
            ("localhost:5000/dev", "localhost:5000/dev:9"),
            ("nothing", "own"),
        ] {
            assert!(permits(pattern, image), "{pattern} {image}");
        }
        for (pattern, image) in [
            ("dev", "devil"),
            ("dev", "acme/dev"),
            ("dev:2026", "dev"),
            ("dev:2026", "dev:2025"),
            ("registry.acme.example/*", "registry.acme.example.evil.test/dev"),
            ("registry.acme.example*", "registry.acme.example.evil.test/dev"),
            ("dev:stable", &format!("dev:stable@sha256:{}", "a".repeat(64))),
            ("*", "Not An Image"),
            ("nothing", "own:other"),
        ] {
            assert!(!permits(pattern, image), "{pattern} {image}");
        }
    }

    #[test]
    fn many_stars_stay_quick() {
        let pattern = format!("{}x", "*a".repeat(60));
        assert!(!wildcard(&pattern, &"a".repeat(2000)));
    }
}
