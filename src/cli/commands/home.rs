//! `hearth home`

use clap_complete::engine::ArgValueCandidates;

use crate::api::wire::{Home, HomeState};
use crate::cli::client::{Client, Patience};
use crate::cli::error::{Error, Kind, Result};
use crate::cli::render::Style;
use crate::cli::render::table::{Cell, table};
use crate::cli::target::Name;
use crate::cli::{Context, complete, confirm};
use crate::model::NameError;

/// List, delete and restore homes: all that outlives a workspace's container
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    List(ListArgs),
    Delete(DeleteArgs),
    Restore(RestoreArgs),
}

/// List the homes of the workspaces that you may see
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {}

/// Move a home to the trash, from where it can be restored until a printed date
///
/// The workspace must be off; its next build makes a new, empty home.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Home as `hearth home list` names it, or a workspace, whose current one is meant
    #[arg(value_name = "HOME", add = ArgValueCandidates::new(complete::workspaces))]
    home: Which,
    /// Do not ask for the name
    #[arg(long, short)]
    yes: bool,
}

/// Make a home from the trash its workspace's again
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// Home as `hearth home list` names it, or a workspace, whose only one in the trash is meant
    #[arg(value_name = "HOME", add = ArgValueCandidates::new(complete::workspaces))]
    home: Which,
}

/// A home as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    /// Names of workspaces hold no dot, those of volumes do.
    Volume(String),
    Workspace(Name),
}

impl std::str::FromStr for Which {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('.') { Ok(Self::Volume(text.to_owned())) } else { text.parse().map(Self::Workspace) }
    }
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        match self {
            Command::List(ListArgs {}) => list(context).await,
            Command::Delete(args) => args.run(context).await,
            Command::Restore(args) => args.run(context).await,
        }
    }
}

async fn list(context: &Context) -> Result<()> {
    let homes: Vec<Home> = context.client()?.get("/v1/homes").await?;
    let out = context.out;
    if homes.is_empty() && !out.json {
        out.say("no homes that you may see");
        return Ok(());
    }
    out.print_as(&homes, |homes| match out.quiet {
        true => homes.iter().map(|home| format!("{}\n", home.home)).collect(),
        false => text(homes, out.colours),
    })
}

fn text(homes: &[Home], colours: bool) -> String {
    let row = |home: &Home| {
        [
            Cell::from(home.workspace.to_string()),
            state(home),
            Cell::from(home.home.as_str()),
            Cell::new(home.note.clone().unwrap_or_default(), Style::Warn),
        ]
    };
    let rows: Vec<_> = homes.iter().map(row).collect();
    table(["WORKSPACE", "STATE", "HOME", "NOTES"], &rows, colours)
}

fn state(home: &Home) -> Cell {
    match (home.state, home.until) {
        (HomeState::InUse, _) => Cell::new("in use", Style::Good),
        (HomeState::Orphaned, _) => Cell::new("orphaned", Style::Warn),
        (HomeState::InTrash, Some(until)) => Cell::new(format!("in trash until {}", date(until)), Style::Dim),
        (HomeState::InTrash, None) => Cell::new("in trash, kept", Style::Warn),
    }
}

/// Returns the last day on which it can be restored for sure.
pub(crate) fn date(until: crate::model::Moment) -> String {
    until.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

impl DeleteArgs {
    async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let home = self.home.find(&client, |home| home.state != HomeState::InTrash).await?;
        if !self.yes {
            let what = format!("{} of {} and everything in it goes to the trash.", home.home, home.workspace);
            let name = match &self.home {
                Which::Volume(volume) => volume.clone(),
                Which::Workspace(_) => home.workspace.to_string(),
            };
            confirm::by_name(context, &what, &name)?;
        }
        let home: Home = client.delete(&format!("/v1/homes/{}", home.home), Patience::Short).await?;
        context.out.print_as(&home, told)
    }
}

/// Says until when a home that was deleted can be had back.
pub(crate) fn told(home: &Home) -> String {
    match home.until {
        Some(until) => format!(
            "{} is in the trash until {}; until then `hearth home restore {}` brings it back\n",
            home.home,
            date(until),
            home.home
        ),
        None => format!("{} is in the trash\n", home.home),
    }
}

impl RestoreArgs {
    async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let home = self.home.find(&client, |home| home.state == HomeState::InTrash).await?;
        let path = format!("/v1/homes/{}/restore", home.home);
        let home: Home = client.post(&path, &serde_json::json!({}), Patience::Short).await?;
        context.out.print_as(&home, |home| format!("{} is the home of {} again\n", home.home, home.workspace))
    }
}

impl Which {
    /// Finds the home that is meant; of a workspace's the one that `fits`.
    async fn find(&self, client: &Client, fits: impl Fn(&Home) -> bool) -> Result<Home> {
        let homes: Vec<Home> = client.get("/v1/homes").await?;
        let (what, found): (_, Vec<_>) = match self {
            Which::Volume(volume) => {
                (format!("home `{volume}`"), homes.into_iter().filter(|home| home.home == *volume).collect())
            }
            Which::Workspace(name) => {
                let id = name.resolve(client).await?;
                let of_it = homes.into_iter().filter(|home| home.workspace == id && fits(home)).collect();
                (format!("such home of `{id}`"), of_it)
            }
        };
        one(&what, found)
    }
}

fn one(what: &str, mut found: Vec<Home>) -> Result<Home> {
    let names = found.iter().map(|home| home.home.as_str()).collect::<Vec<_>>().join(", ");
    match (found.pop(), found.is_empty()) {
        (Some(home), true) => Ok(home),
        (Some(_), false) => {
            Err(Error::new(Kind::Usage, "which one? There are several").hint(format!("name it: {names}")))
        }
        (None, _) => Err(Error::new(Kind::NotFound, format!("there is no {what} that you may see"))
            .hint("hearth home list shows them all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::samples::at;

    fn home(home: &str, state: HomeState) -> Home {
        Home {
            home: home.into(),
            workspace: "alice/main".parse().unwrap(),
            org: None,
            state,
            until: None,
            deleted_at: None,
            deleted_by: None,
            bytes: None,
            note: None,
        }
    }

    #[test]
    fn l10_the_list_says_what_each_home_is() {
        let trashed = Home { until: Some(at(0)), ..home("hearth.alice.main.home", HomeState::InTrash) };
        let kept = Home { note: Some("used since".into()), ..home("hearth.alice.main.home-2", HomeState::InTrash) };
        let all = [
            trashed,
            kept,
            home("hearth.alice.main.home-3", HomeState::InUse),
            home("hearth.bob.main.home", HomeState::Orphaned),
        ];
        let text = text(&all, false).replace(&date(at(0)), "2026-03-04 05:06");
        insta::assert_snapshot!(text, @r"
        WORKSPACE   STATE                            HOME                      NOTES
        alice/main  in trash until 2026-03-04 05:06  hearth.alice.main.home
        alice/main  in trash, kept                   hearth.alice.main.home-2  used since
        alice/main  in use                           hearth.alice.main.home-3
        alice/main  orphaned                         hearth.bob.main.home
        ");
    }

    #[test]
    fn a_name_with_a_dot_is_a_volume() {
        assert_eq!("hearth.alice.main.home".parse::<Which>(), Ok(Which::Volume("hearth.alice.main.home".into())));
        assert_eq!("alice/main".parse::<Which>(), Ok(Which::Workspace("alice/main".parse().unwrap())));
        assert!("Alice".parse::<Which>().is_err());
        let several = one("x", vec![home("a.b", HomeState::InTrash), home("a.c", HomeState::InTrash)]).unwrap_err();
        assert_eq!((several.kind, several.hint.unwrap().as_str()), (Kind::Usage, "name it: a.b, a.c"));
        assert_eq!(one("x", vec![]).unwrap_err().kind, Kind::NotFound);
    }
}
