//! The configurations that most tests vary: an org `acme` with one image, and `alice/main`.

use std::fmt::Display;

/// Returns a configuration with `alice/main` on an image that the engine has. Alice's account is `games`.
pub(crate) fn alice(image: impl Display) -> String {
    alice_with(image, "", "")
}

/// Is [`alice`] with more lines for `[orgs.acme]` and for `[users.alice]`. `pull` is `never` unless `org` says otherwise.
pub(crate) fn alice_with(image: impl Display, org: &str, user: &str) -> String {
    let pull = if org.contains("pull =") { "" } else { "pull = \"never\"" };
    format!(
        "[orgs.acme]\nimage = \"{image}\"\n{pull}\nstop_grace = \"2s\"\n{org}\n\
         [users.alice]\naccount = \"games\"\norgs = [\"acme\"]\n{user}\n\
         [users.alice.workspaces.main]\n"
    )
}

/// Returns the lines that add `bob/main`, whose account is `www-data`.
pub(crate) fn and_bob() -> &'static str {
    "[users.bob]\naccount = \"www-data\"\norgs = [\"acme\"]\n[users.bob.workspaces.main]\n"
}
