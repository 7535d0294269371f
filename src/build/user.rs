//! Who an image runs as (rule L4): its `USER`, in every form that Docker takes, looked up in its own `/etc/passwd` and
//! `/etc/group` as Docker does, and refused where it would not do for a workspace. Pure.

/// The largest uid and gid that Docker takes.
const MAX_ID: u32 = i32::MAX as u32;

/// The user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups. Docker gives none where `USER` names a group.
    pub groups: Vec<u32>,
    /// What passwd says, `/bin/sh` where it says nothing. The image need not have it.
    pub shell: String,
}

/// Why a `USER` will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserRefusal {
    /// There is none, which is root.
    Missing,
    Root,
    /// A uid that no line of passwd has.
    Unnamed {
        uid: u32,
    },
    Unknown {
        name: String,
    },
    UnknownGroup {
        name: String,
    },
    /// A name that cannot be that of a directory in `/home`, or a number that is none.
    BadName {
        name: String,
    },
}

impl UserRefusal {
    /// Says it of what was looked up: "its `USER`", or what an org says instead.
    pub fn of(&self, user: &str) -> String {
        // What comes from an image is shown, not carried out, by a terminal.
        match self {
            Self::Missing => format!("{user} is missing, so it would run as root"),
            Self::Root => format!("{user} is root"),
            Self::Unnamed { uid } => format!("{user} `{uid}` has no entry in its /etc/passwd, and so no name"),
            Self::Unknown { name } => format!("{user} `{}` is not in its /etc/passwd", name.escape_debug()),
            Self::UnknownGroup { name } => {
                format!("the group `{}` of {user} is not in its /etc/group", name.escape_debug())
            }
            Self::BadName { name } => format!(
                "{user} is called `{}`, and a workspace's user begins with a-z or _ and goes on with a-z, 0-9, `_`, \
                 `.` or `-`",
                name.escape_debug()
            ),
        }
    }

    /// Returns whether the org's `user` stands in: the image says nothing that could be meant otherwise.
    pub fn gives_way(&self) -> bool {
        match self {
            Self::Missing | Self::Root | Self::Unnamed { .. } => true,
            Self::Unknown { .. } | Self::UnknownGroup { .. } | Self::BadName { .. } => false,
        }
    }
}

/// Resolves `name`, `uid`, `name:group`, `uid:gid` and their mixtures. A number is a uid even where a user is called
/// so; the first line that fits counts; a group that is a number need not be in the file.
///
/// # Errors
/// As [`UserRefusal`] says.
pub(super) fn resolve(user: &str, passwd: &str, group: &str) -> Result<ImageUser, UserRefusal> {
    let user = user.trim();
    let (name, group_name) = user.split_once(':').unwrap_or((user, ""));
    if name.is_empty() {
        return Err(UserRefusal::Missing);
    }
    let wanted = id(name)?;
    let account = match wanted {
        Some(uid) => accounts(passwd).find(|account| account.uid == uid),
        None => accounts(passwd).find(|account| account.name == name),
    };
    let account = match (account, wanted) {
        (Some(Account { uid: 0, .. }), _) | (None, Some(0)) => return Err(UserRefusal::Root),
        (Some(account), _) => account,
        (None, Some(uid)) => return Err(UserRefusal::Unnamed { uid }),
        (None, None) => return Err(UserRefusal::Unknown { name: name.to_owned() }),
    };
    if !is_username(account.name) {
        return Err(UserRefusal::BadName { name: account.name.to_owned() });
    }
    let (gid, extra) = match group_name {
        "" => (account.gid, memberships(group, &account)),
        named => (group_id(named, group)?, Vec::new()),
    };
    let shell = if account.shell.is_empty() { "/bin/sh" } else { account.shell };
    Ok(ImageUser { name: account.name.to_owned(), uid: account.uid, gid, groups: extra, shell: shell.to_owned() })
}

/// A line of passwd.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    shell: &'a str,
}

/// Reads the lines that make sense.
fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_comment, _home) = (fields.next(), fields.next());
        let shell = fields.next().unwrap_or_default().trim();
        (!name.is_empty() && uid <= MAX_ID && gid <= MAX_ID).then_some(Account { name, uid, gid, shell })
    })
}

/// Reads the lines of `/etc/group` that make sense: name, gid, members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        (!name.is_empty() && gid <= MAX_ID).then_some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn memberships(group: &str, account: &Account<'_>) -> Vec<u32> {
    let is_member = |members: &str| members.split(',').any(|member| member == account.name);
    let mut gids: Vec<u32> = groups(group)
        .filter(|(_, gid, members)| *gid != account.gid && is_member(members))
        .map(|(_, gid, _)| gid)
        .collect();
    gids.sort_unstable();
    gids.dedup();
    gids
}

fn group_id(name: &str, group: &str) -> Result<u32, UserRefusal> {
    if let Some(gid) = id(name)? {
        return Ok(gid);
    }
    let found = groups(group).find(|(known, _, _)| *known == name).map(|(_, gid, _)| gid);
    found.ok_or_else(|| UserRefusal::UnknownGroup { name: name.to_owned() })
}

/// Reads a number; `None` where it is a name.
fn id(text: &str) -> Result<Option<u32>, UserRefusal> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse::<u32>().ok().filter(|id| *id <= MAX_ID);
    id.map(Some).ok_or_else(|| UserRefusal::BadName { name: text.to_owned() })
}

fn is_username(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b == b'_';
    name.bytes().next().is_some_and(word)
        && name.bytes().all(|b| word(b) || b.is_ascii_digit() || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        toor:x:0:0::/root:/bin/sh\n\
        # a comment\n\
        broken:x:many:1:::\n\
        coder:x:1000:1000:A Coder,,,:/srv/coder:/bin/zsh\n\
        Upper:x:1001:1001::/home/Upper:/bin/sh\n\
        plain:x:1002:50\n\
        coder:x:1003:1003::/home/other:/bin/sh\n\
        1000:x:1004:1004::/home/number:/bin/sh\n\
        late:x:1000:1005::/home/late:/bin/sh\n";
    const GROUP: &str = "root:x:0:\ncoder:x:1000:\nsudo:x:27:other,coder\ndocker:x:999:coder\nnot:x:1:coders\n\
        twice:x:27:coder\nstaff:x:50:plain\n";

    fn user(user: &str) -> Result<ImageUser, UserRefusal> {
        resolve(user, PASSWD, GROUP)
    }

    #[test]
    fn l4_every_form_of_user() {
        let coder = |gid, groups: &[u32]| ImageUser {
            name: "coder".into(),
            uid: 1000,
            gid,
            groups: groups.to_vec(),
            shell: "/bin/zsh".into(),
        };
        assert_eq!(user("coder").unwrap(), coder(1000, &[27, 999]));
        assert_eq!(user(" 1000 ").unwrap(), coder(1000, &[27, 999]));
        assert_eq!(user("01000").unwrap(), coder(1000, &[27, 999]));
        assert_eq!(user("coder:").unwrap(), coder(1000, &[27, 999]));
        assert_eq!(user("coder:sudo").unwrap(), coder(27, &[]));
        assert_eq!(user("1000:sudo").unwrap(), coder(27, &[]));
        assert_eq!(user("coder:4242").unwrap(), coder(4242, &[]));
        assert_eq!(user("1000:0").unwrap(), coder(0, &[]));
        let plain = user("plain").unwrap();
        assert_eq!((plain.gid, plain.shell.as_str(), plain.groups.len()), (50, "/bin/sh", 0));
    }

    #[test]
    fn l4_root_in_every_form_is_refused() {
        for root in ["root", "0", "00", "root:coder", "0:1000", "toor"] {
            assert!(matches!(user(root), Err(UserRefusal::Root)), "{root}");
        }
        assert!(matches!(resolve("0", "", ""), Err(UserRefusal::Root)));
        for none in ["", " ", ":", ":coder"] {
            assert_eq!(user(none), Err(UserRefusal::Missing), "{none:?}");
        }
    }

    #[test]
    fn l4_uid_without_passwd_entry_is_refused() {
        assert_eq!(user("4242"), Err(UserRefusal::Unnamed { uid: 4242 }));
        assert_eq!(resolve("1000:1000", "", ""), Err(UserRefusal::Unnamed { uid: 1000 }));
    }

    #[test]
    fn l4_names_that_lead_nowhere_are_refused() {
        assert_eq!(user("eve"), Err(UserRefusal::Unknown { name: "eve".into() }));
        assert_eq!(user("broken"), Err(UserRefusal::Unknown { name: "broken".into() }));
        assert_eq!(user("coder:wheel"), Err(UserRefusal::UnknownGroup { name: "wheel".into() }));
        assert!(matches!(user("99999999999"), Err(UserRefusal::BadName { .. })));
        assert!(matches!(user("4294967295"), Err(UserRefusal::BadName { .. })));
    }

    #[test]
    fn l4_only_a_plain_username_will_do() {
        assert_eq!(user("Upper"), Err(UserRefusal::BadName { name: "Upper".into() }));
        assert_eq!(user("1001"), Err(UserRefusal::BadName { name: "Upper".into() }));
        for bad in ["../x", "a/b", "..", ".a", "-a", "9a", "a b", "é", "a\u{1b}", "a$"] {
            let passwd = format!("{bad}:x:1000:1000:::");
            assert!(matches!(resolve("1000", &passwd, ""), Err(UserRefusal::BadName { .. })), "{bad:?}");
        }
        for good in ["a", "_a", "a.b", "a-b_9"] {
            assert_eq!(resolve(good, &format!("{good}:x:1000:1000:::"), "").unwrap().name, good);
        }
    }

    #[test]
    fn l4_the_orgs_user_stands_in_only_where_the_image_says_nothing() {
        for (image, stands_in) in
            [("", true), ("root", true), ("4242", true), ("eve", false), ("coder:wheel", false), ("Upper", false)]
        {
            assert_eq!(user(image).unwrap_err().gives_way(), stands_in, "{image}");
        }
    }

    proptest! {
        #[test]
        fn l4_whatever_an_image_says_the_answer_is_a_user_of_its_passwd(
            spec in "[a-c0-2:]{0,5}|\\PC{0,8}",
            passwd in "([a-c0-2]{1,2}:x:[0-2]{1,2}:[0-2]{1,2}::/[a-c]:/[a-c]\n|\\PC{0,12}\n){0,6}",
            group in "([a-c0-2]{1,2}:x:[0-2]{1,2}:[a-c,]{0,4}\n|\\PC{0,12}\n){0,6}",
        ) {
            if let Ok(user) = resolve(&spec, &passwd, &group) {
                prop_assert_ne!(user.uid, 0);
                prop_assert!(is_username(&user.name));
                let line = format!("{}:x:{}:", user.name, user.uid);
                let same = |l: &str| accounts(l).any(|a| a.name == user.name && a.uid == user.uid);
                prop_assert!(passwd.lines().any(same), "{} not in {}", line, passwd);
                prop_assert!(!user.groups.contains(&user.gid));
                // A name and its uid are the same user where no other has either.
                let same_name = accounts(&passwd).filter(|a| a.name == user.name || a.uid == user.uid).count();
                if same_name == 1 && !spec.contains(':') {
                    prop_assert_eq!(resolve(&user.uid.to_string(), &passwd, &group), Ok(user.clone()));
                    prop_assert_eq!(resolve(&user.name, &passwd, &group), Ok(user));
                }
            }
        }
    }
}
