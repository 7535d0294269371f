//! Who may do what: person × verb × workspace → [`Allowed`], a proof that the caller keeps, or [`Refused`].
//!
//! The one place where roles (design section 1) and rule X1 are decided. Pure: the person comes with uid,
//! account and groups looked up by whoever accepted the connection.

use crate::config::Settings;
use crate::config::settings::Principal;
use crate::model::{OrgName, Requester, UserName, WorkspaceId};

/// The person behind a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    /// A host account, known by `SO_PEERCRED`.
    Account { uid: u32, account: String, groups: Vec<String> },
    /// A process inside a workspace that showed the workspace's token: acts for its owner, on this workspace alone.
    Inside { workspace: WorkspaceId },
}

impl Person {
    /// Returns the person as the audit log and build records name it.
    pub fn requester(&self) -> Requester {
        match self {
            Person::Account { account, .. } => Requester(account.clone()),
            Person::Inside { workspace } => Requester(format!("{} (inside {workspace})", workspace.user)),
        }
    }
}

/// What somebody wants to do to a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// See it in `list`, `show`, `schedule`.
    See,
    /// See on what evidence it is on: who is connected, and to what it connects.
    Why,
    /// Read its builds and their logs.
    Logs,
    /// See each effective value with its origin.
    Config,
    Start,
    Stop,
    Rebuild,
    Cancel,
    /// Run `~/personalize` again.
    Personalize,
    /// Change the owner's settings of it.
    Set,
    Hold,
    /// End holds.
    Release,
    Delete,
    DeleteHome,
    RestoreHome,
    /// Get a shell, a command or a connection in it.
    Enter,
}

impl Verb {
    /// Returns the verb as the audit log has it.
    pub fn name(self) -> &'static str {
        match self {
            Verb::See => "see",
            Verb::Why => "why",
            Verb::Logs => "logs",
            Verb::Config => "config",
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Rebuild => "rebuild",
            Verb::Cancel => "cancel",
            Verb::Personalize => "personalize",
            Verb::Set => "set",
            Verb::Hold => "hold",
            Verb::Release => "release",
            Verb::Delete => "delete",
            Verb::DeleteHome => "delete-home",
            Verb::RestoreHome => "restore-home",
            Verb::Enter => "enter",
        }
    }
}

/// What somebody wants of the daemon as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonVerb {
    Status,
    Plan,
    Reload,
    ReadAudit,
}

impl DaemonVerb {
    /// Returns the verb as the audit log has it.
    pub fn name(self) -> &'static str {
        match self {
            DaemonVerb::Status => "status",
            DaemonVerb::Plan => "plan",
            DaemonVerb::Reload => "reload",
            DaemonVerb::ReadAudit => "audit",
        }
    }
}

/// What somebody wants of a user, apart from any workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserVerb {
    /// See the public Git key and the settings.
    See,
    /// Change what the user can set of themselves.
    Set,
    /// Say that the user is away, or back.
    Away,
}

impl UserVerb {
    /// Returns the verb as the audit log has it.
    pub fn name(self) -> &'static str {
        match self {
            UserVerb::See => "see",
            UserVerb::Set => "set",
            UserVerb::Away => "away",
        }
    }
}

/// In what capacity somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Owner,
    Admin,
    Manager,
    Auditor,
    /// The owner, from inside the workspace itself.
    Inside,
}

/// The proof that a person may do something to a workspace. Only [`check`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    workspace: WorkspaceId,
    verb: Verb,
    role: Role,
    requester: Requester,
}

impl Allowed {
    /// Returns the workspace it is about.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// Returns what was asked for.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Returns the capacity in which it was allowed.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns who asked.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }
}

/// Why something is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The person may not even know whether it exists.
    #[error("there is no workspace `{0}` that you may see")]
    NotVisible(WorkspaceId),
    #[error("{role} may not {verb} `{workspace}`")]
    NotPermitted { workspace: WorkspaceId, verb: &'static str, role: &'static str },
    #[error("from inside a workspace you can act on that workspace alone, not on `{0}`")]
    OtherWorkspace(WorkspaceId),
    #[error("only an admin may {0}")]
    AdminOnly(&'static str),
    #[error("an auditor may not change anything of user `{0}`")]
    UserNotPermitted(UserName),
    /// A script inside reaches that workspace, not what its owner has everywhere.
    #[error("from inside a workspace you can set what is that workspace's, not what is its owner's")]
    OwnersOwn,
    /// The person may not even know whether there is such a user.
    #[error("there is no user `{0}` that you may see")]
    UserNotVisible(UserName),
}

/// Returns the proof that `person` may do `verb` to the workspace, which belongs to `org` (as declared or, for one
/// that is no longer declared, as recorded).
///
/// # Errors
/// [`Refused`] says why not; a workspace that the person may not see looks as if it did not exist.
pub fn check(
    settings: &Settings,
    person: &Person,
    verb: Verb,
    workspace: &WorkspaceId,
    org: &OrgName,
) -> Result<Allowed, Refused> {
    check_home(settings, person, verb, workspace, Some(org))
}

/// Is [`check`] for a workspace that may not be known: of a lost database's only its homes are left, and no org.
///
/// # Errors
/// As [`check`].
pub fn check_home(
    settings: &Settings,
    person: &Person,
    verb: Verb,
    workspace: &WorkspaceId,
    org: Option<&OrgName>,
) -> Result<Allowed, Refused> {
    let roles = roles_for(settings, person, workspace, org);
    if roles.is_empty() {
        return Err(Refused::NotVisible(workspace.clone()));
    }
    let elsewhere = matches!(person, Person::Inside { workspace: own } if own != workspace);
    if elsewhere && verb != Verb::See {
        return Err(Refused::OtherWorkspace(workspace.clone()));
    }
    if let Some(role) = roles.iter().copied().find(|role| may(*role, verb)) {
        let (workspace, requester) = (workspace.clone(), person.requester());
        return Ok(Allowed { workspace, verb, role, requester });
    }
    Err(Refused::NotPermitted { workspace: workspace.clone(), verb: verb_text(verb), role: role_text(roles[0]) })
}

/// Returns whether `person` may do `verb` to the daemon.
///
/// # Errors
/// [`Refused::AdminOnly`] where only an admin, or for the audit log an auditor, may.
pub fn check_daemon(settings: &Settings, person: &Person, verb: DaemonVerb) -> Result<(), Refused> {
    let (admin, auditor) = (is_admin(settings, person), is_auditor(settings, person));
    match verb {
        DaemonVerb::Status => Ok(()),
        DaemonVerb::Plan if admin || auditor => Ok(()),
        DaemonVerb::ReadAudit if admin || auditor => Ok(()),
        DaemonVerb::Reload if admin => Ok(()),
        DaemonVerb::Plan => Err(Refused::AdminOnly("see the plan of a reload")),
        DaemonVerb::ReadAudit => Err(Refused::AdminOnly("read the audit log")),
        DaemonVerb::Reload => Err(Refused::AdminOnly("reload the configuration")),
    }
}

/// Returns the user's own name in the settings, where `person` may do `verb`.
///
/// # Errors
/// [`Refused::UserNotVisible`], whether there is no such user or one that is not the person's business.
pub fn check_user<'a>(
    settings: &'a Settings,
    person: &Person,
    user: &UserName,
    verb: UserVerb,
) -> Result<&'a UserName, Refused> {
    let own = users(settings, person).contains(&user);
    let admin = is_admin(settings, person);
    let visible = settings.users.get(user).filter(|_| own || sees_all(settings, person));
    let Some(user) = visible.map(|user| &user.name) else { return Err(Refused::UserNotVisible(user.clone())) };
    let inside = matches!(person, Person::Inside { .. });
    match verb {
        UserVerb::See => Ok(user),
        UserVerb::Away if own || admin => Ok(user),
        UserVerb::Set if admin || own && !inside => Ok(user),
        UserVerb::Set if inside => Err(Refused::OwnersOwn),
        UserVerb::Set | UserVerb::Away => Err(Refused::UserNotPermitted(user.clone())),
    }
}

/// Returns the users that a person is: those whose `account` is the person's.
pub fn users<'a>(settings: &'a Settings, person: &'a Person) -> Vec<&'a UserName> {
    match person {
        Person::Account { account, .. } => settings.users_of_account(account).map(|user| &user.name).collect(),
        Person::Inside { workspace } => vec![&workspace.user],
    }
}

/// Returns whether the person is a site admin: root, or named in `[server] admins`.
pub fn is_admin(settings: &Settings, person: &Person) -> bool {
    match person {
        Person::Account { uid, .. } => *uid == 0 || names(&settings.server.admins, person),
        Person::Inside { .. } => false,
    }
}

/// Returns whether the person may see what the host's administrators see, such as a rejected configuration.
pub fn sees_all(settings: &Settings, person: &Person) -> bool {
    is_admin(settings, person) || is_auditor(settings, person)
}

fn is_auditor(settings: &Settings, person: &Person) -> bool {
    names(&settings.server.auditors, person)
}

fn names(principals: &[Principal], person: &Person) -> bool {
    let Person::Account { account, groups, .. } = person else { return false };
    principals.iter().any(|principal| match principal {
        Principal::Account(name) => name == account,
        Principal::Group(name) => groups.contains(name),
    })
}

/// The roles that a person has towards a workspace, strongest first. An admin is in their own workspaces an owner
/// like others: what they do there is a user's doing, not an admin's.
fn roles_for(settings: &Settings, person: &Person, workspace: &WorkspaceId, org: Option<&OrgName>) -> Vec<Role> {
    if let Person::Inside { workspace: own } = person {
        return if own.user == workspace.user { vec![Role::Inside] } else { vec![] };
    }
    let owns = users(settings, person).contains(&&workspace.user);
    let manages = org.and_then(|org| settings.orgs.get(org)).is_some_and(|org| names(&org.managers, person));
    [
        (owns, Role::Owner),
        (is_admin(settings, person), Role::Admin),
        (manages, Role::Manager),
        (is_auditor(settings, person), Role::Auditor),
    ]
    .into_iter()
    .filter_map(|(has, role)| has.then_some(role))
    .collect()
}

fn may(role: Role, verb: Verb) -> bool {
    match role {
        Role::Admin | Role::Owner => true,
        Role::Manager => matches!(verb, Verb::See | Verb::Logs | Verb::Stop | Verb::Rebuild),
        Role::Auditor => matches!(verb, Verb::See | Verb::Why | Verb::Logs | Verb::Config),
        Role::Inside => !matches!(verb, Verb::Enter | Verb::Delete | Verb::DeleteHome | Verb::RestoreHome),
    }
}

fn verb_text(verb: Verb) -> &'static str {
    match verb {
        Verb::Logs => "read the build logs of",
        Verb::Why => "see the use of",
        Verb::Config => "see the configuration of",
        Verb::Cancel => "cancel a build of",
        Verb::Set => "change the settings of",
        Verb::DeleteHome => "delete a home of",
        Verb::RestoreHome => "restore a home of",
        Verb::Release => "end holds of",
        Verb::See
        | Verb::Start
        | Verb::Stop
        | Verb::Rebuild
        | Verb::Personalize
        | Verb::Hold
        | Verb::Delete
        | Verb::Enter => verb.name(),
    }
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Admin => "an admin",
        Role::Owner => "the owner",
        Role::Manager => "a manager",
        Role::Auditor => "an auditor",
        Role::Inside => "a process inside a workspace",
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
