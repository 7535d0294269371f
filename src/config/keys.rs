//! Every key that a file may have: its name, what it takes, its default and what it is for. The reader of the files, the
//! suggestions for unknown keys and the JSON Schema all come from these tables.

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text; the pattern, where there is one, is for editors only.
    Text(&'static str),
    Choice(&'static [&'static str]),
    Switch,
    Integer {
        least: u32,
    },
    Number,
    List(&'static Kind),
    /// A table with known keys.
    Table(&'static Table),
    /// `[[…]]`
    Tables(&'static Table),
    /// A table by names that match the pattern, each with known keys.
    Named(&'static str, &'static Table),
    /// A table by names that match the pattern, each with a value.
    Entries(&'static str, &'static Kind),
    Either(&'static [Kind]),
}

/// A table and its keys.
#[derive(Debug)]
pub struct Table {
    /// As its header is written: `[orgs.NAME]`.
    pub header: &'static str,
    pub about: &'static str,
    pub keys: &'static [Key],
}

/// A key.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// A value as it stands in a file; none where the key is a table.
    pub example: &'static str,
    /// The default as it would stand in a file, or a word for it; empty where there is nothing to say.
    pub default: &'static str,
    pub required: bool,
    pub about: &'static str,
}

impl Table {
    /// Returns the key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, example: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, example, default, required: false, about }
}

const fn required(name: &'static str, kind: Kind, example: &'static str, about: &'static str) -> Key {
    Key { name, kind, example, default: "", required: true, about }
}

const fn table(name: &'static str, table: &'static Table) -> Key {
    Key { name, kind: Kind::Table(table), example: "", default: "", required: false, about: table.about }
}

const ANY: Kind = Kind::Text("");
const NAME_PATTERN: &str = "^[a-z][a-z0-9-]{0,31}$";
const NAME: Kind = Kind::Text(NAME_PATTERN);
const ANY_NAME: &str = "^.+$";
/// Which names are reserved, editors are not told: their patterns cannot say "not".
const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const PATH: Kind = Kind::Text("^/");
const SPAN: Kind = Kind::Text("^([0-9]+[dhms])+$");
const SPAN_OR_NEVER: Kind = Kind::Text("^(never|([0-9]+[dhms])+)$");
const SIZE: Kind = Kind::Text("^[0-9]+ ?([KkMmGgTt](iB)?|B)?$");
const TIME_OR_NEVER: Kind = Kind::Text("^(never|[0-2][0-9]:[0-5][0-9])$");
const LISTEN: Kind = Kind::Text("^.+:[0-9]+$");
const PORT: Kind = Kind::Text("^(.+:)?[0-9]+:[0-9]+(/(tcp|udp))?$");
const DAYS: Kind = Kind::List(&Kind::Choice(&super::text::DAYS));
const PRINCIPALS: Kind = Kind::List(&ANY);
const IMAGE: Kind = ANY;
const COUNT: Kind = Kind::Integer { least: 0 };
const AT_LEAST_ONE: Kind = Kind::Integer { least: 1 };

/// The top of a file.
pub static ROOT: Table = Table {
    header: "the top of the file",
    about: "The configuration of hearth: /etc/hearth/hearth.toml and /etc/hearth/conf.d/*.toml.",
    keys: &[
        table("server", &SERVER),
        table("ssh", &SSH),
        table("metrics", &METRICS),
        Key {
            name: "orgs",
            kind: Kind::Named(NAME_PATTERN, &ORG),
            example: "",
            default: "",
            required: false,
            about: "Groups of users with one policy.",
        },
        Key {
            name: "users",
            kind: Kind::Named(NAME_PATTERN, &USER),
            example: "",
            default: "",
            required: false,
            about: "The people, and their workspaces.",
        },
    ],
};

pub static SERVER: Table = Table {
    header: "[server]",
    about: "hearthd itself. Only in the main file.",
    keys: &[
        key(
            "docker",
            Kind::Text("^unix:///"),
            r#""unix:///var/run/docker.sock""#,
            r#""unix:///var/run/docker.sock""#,
            "Socket of the Docker engine.",
        ),
        key("data_dir", PATH, r#""/var/lib/hearth""#, r#""/var/lib/hearth""#, "Database, user key pairs, build logs."),
        key("run_dir", PATH, r#""/run/hearth""#, r#""/run/hearth""#, "Sockets of hearthd and of the workspaces."),
        key("timezone", ANY, r#""Europe/Berlin""#, "the host's", "IANA zone of all who have none of their own."),
        key(
            "admins",
            PRINCIPALS,
            r#"["ops", "@sudo"]"#,
            "[]",
            "Accounts, and groups with @, that may do everything; root always may.",
        ),
        key("auditors", PRINCIPALS, r#"["audit"]"#, "[]", "Accounts, and groups with @, that may read everything."),
        key(
            "max_builds",
            AT_LEAST_ONE,
            "4",
            "4",
            "Builds at the same time; the rest queue, people first. Hooks hold up only builds that nobody waits for, as a storm of auto-starts, and each for five minutes at most.",
        ),
        key("instance", NAME, r#""hearth""#, r#""hearth""#, "Several hearthds on one engine need different ones."),
    ],
};

pub static SSH: Table = Table {
    header: "[ssh]",
    about: "For the SSH gateway, which this version has not: nothing listens, the port is only kept free. Only in the main file.",
    keys: &[required("listen", LISTEN, r#""0.0.0.0:2222""#, "Address and port to listen on.")],
};

pub static METRICS: Table = Table {
    header: "[metrics]",
    about: "For figures for Prometheus, which this version has not: nothing listens, the port is only kept free. Only in the main file.",
    keys: &[required("listen", LISTEN, r#""127.0.0.1:9180""#, "Address and port to listen on.")],
};

pub static ORG: Table = Table {
    header: "[orgs.NAME]",
    about: "A group of users with one policy.",
    keys: &[
        key(
            "managers",
            PRINCIPALS,
            r#"["dana"]"#,
            "[]",
            "Accounts, and groups with @, that may list, stop and rebuild every workspace of the org and read its build logs.",
        ),
        required("image", IMAGE, r#""registry.acme.example/dev:latest""#, "The image of its workspaces."),
        key(
            "images",
            Kind::List(&IMAGE),
            r#"["registry.acme.example/*"]"#,
            "only `image`",
            "What workspaces may use: * is any run of characters, with no tag any tag will do.",
        ),
        key(
            "pull",
            Kind::Choice(super::settings::Pull::WORDS),
            r#""always""#,
            r#""always""#,
            "When a build pulls the image.",
        ),
        key("auto_off", SPAN_OR_NEVER, r#""2h""#, r#""never""#, "Stop a workspace after this long without activity."),
        key(
            "auto_off_override",
            Kind::Choice(super::settings::Override::WORDS),
            r#""modify""#,
            r#""deny""#,
            "What members may do to the auto-off of their own workspaces: nothing, choose up to auto_off_max, or also choose never.",
        ),
        key("auto_off_max", SPAN, r#""12h""#, "none", "The longest auto-off that members may choose under modify."),
        key(
            "activity",
            Kind::Choice(super::settings::ActivityKind::WORDS),
            r#""traffic""#,
            r#""traffic""#,
            "When a connection counts as use: while it is open, or while it carries traffic.",
        ),
        key(
            "activity_floor",
            SIZE,
            r#""1KiB""#,
            r#""1KiB""#,
            "Payload per minute below which a connection is only open.",
        ),
        key(
            "activity_ignore",
            Kind::List(&ANY),
            r#"["10.0.0.9", "port:9100"]"#,
            "[]",
            "Source addresses and container ports that are nobody's use.",
        ),
        key(
            "auto_start_days",
            DAYS,
            r#"["mon", "tue"]"#,
            "every day",
            "Days on which workspaces may start by themselves; [] forbids it.",
        ),
        key(
            "auto_start_pause_after",
            SPAN_OR_NEVER,
            r#""7d""#,
            r#""7d""#,
            "A workspace unused for this long is not started by itself until it is used again.",
        ),
        key(
            "holidays",
            Kind::List(&Kind::Text("^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
            r#"["2026-12-25"]"#,
            "[]",
            "Days with no auto-start.",
        ),
        key("hold_max", SPAN, r#""24h""#, r#""24h""#, "The longest hold; 0s forbids holds."),
        key("trash_keep", SPAN, r#""30d""#, r#""30d""#, "How long a deleted home can be brought back."),
        key("build_on_create", Kind::Switch, "true", "true", "Build a newly declared workspace at once."),
        key("user", ANY, r#""coder""#, "none", "The user of workspaces whose image has no USER, or root."),
        key("stop_grace", SPAN, r#""10s""#, r#""10s""#, "Time between asking a workspace to stop and killing it."),
        key("hook_timeout", SPAN, r#""30m""#, r#""30m""#, "The longest time that configure or personalize may take."),
        key("default_workspace", NAME, r#""main""#, "none", "Every member gets a workspace of this name."),
        key(
            "network_isolation",
            Kind::Switch,
            "true",
            "true",
            "Workspaces of the org cannot reach each other, except by a port published beyond loopback.",
        ),
        key("runtime", ANY, r#""runc""#, "the engine's", "A runtime that the engine knows."),
        key(
            "subnet",
            Kind::Text("^.+/[0-9]+$"),
            r#""10.88.1.0/24""#,
            "the engine chooses",
            "Addresses of the org's network.",
        ),
        table("resources", &RESOURCES),
        table("limits", &LIMITS),
        Key {
            name: "env",
            kind: Kind::Entries(VARIABLE, &ANY),
            example: r#"{ HTTPS_PROXY = "http://proxy.acme.example:3128" }"#,
            default: "none",
            required: false,
            about: "Environment of every workspace. No secrets here: docker inspect shows them.",
        },
        Key {
            name: "mounts",
            kind: Kind::Tables(&MOUNT),
            example: "",
            default: "none",
            required: false,
            about: "Host paths mounted into every workspace.",
        },
        table("git", &GIT),
        Key {
            name: "registries",
            kind: Kind::Named(ANY_NAME, &REGISTRY),
            example: "",
            default: "none",
            required: false,
            about: "Credentials by the registry's host.",
        },
        Key {
            name: "secrets",
            kind: Kind::Named("^[A-Za-z0-9_][A-Za-z0-9_.-]*$", &SECRET),
            example: "",
            default: "none",
            required: false,
            about: "Secrets that workspaces get as files in /run/hearth/secrets, never as environment.",
        },
    ],
};

pub static RESOURCES: Table = Table {
    header: "[orgs.NAME.resources]",
    about: "What a workspace gets unless it says otherwise.",
    keys: &[
        key("cpus", Kind::Number, "2.0", "unlimited", "CPUs."),
        key("memory", SIZE, r#""4GiB""#, "unlimited", "Memory, swap included."),
        key("pids", AT_LEAST_ONE, "4096", "4096", "Processes and threads."),
        key("shm", SIZE, r#""64MiB""#, r#""64MiB""#, "Size of /dev/shm."),
        key("gpus", COUNT, "0", "0", "GPUs, as the engine's device request."),
    ],
};

pub static LIMITS: Table = Table {
    header: "[orgs.NAME.limits]",
    about: "Ceilings for a workspace's own values.",
    keys: &[
        key("cpus", Kind::Number, "8.0", "none", "The most CPUs."),
        key("memory", SIZE, r#""16GiB""#, "none", "The most memory."),
        key("pids", AT_LEAST_ONE, "8192", "none", "The most processes and threads."),
        key("shm", SIZE, r#""1GiB""#, "none", "The largest /dev/shm."),
        key("gpus", COUNT, "1", "none", "The most GPUs."),
        key("workspaces_per_user", COUNT, "3", "none", "The most workspaces of one user in this org."),
        key(
            "ports",
            Kind::List(&Kind::Text("^[0-9]+(-[0-9]+)?$")),
            r#"["8000-8999"]"#,
            "[]",
            "What members may publish on 127.0.0.1.",
        ),
    ],
};

pub static MOUNT: Table = Table {
    header: "[[orgs.NAME.mounts]]",
    about: "A host path mounted into every workspace.",
    keys: &[
        required("source", PATH, r#""/srv/datasets""#, "Path on the host."),
        required("target", PATH, r#""/datasets""#, "Path in the workspace."),
        key("read_only", Kind::Switch, "true", "false", "Whether nobody inside may write."),
    ],
};

pub static GIT: Table = Table {
    header: "[orgs.NAME.git]",
    about: "Git providers.",
    keys: &[Key {
        name: "hosts",
        kind: Kind::Named(ANY_NAME, &GIT_HOST),
        example: "",
        default: "none",
        required: false,
        about: "By host name. The user's key is there, and the host's is pinned.",
    }],
};

pub static GIT_HOST: Table = Table {
    header: "[orgs.NAME.git.hosts.HOST]",
    about: "A Git provider whose host key is pinned.",
    keys: &[required(
        "known_hosts",
        Kind::List(&ANY),
        r#"["git.acme.example ssh-ed25519 AAAA…"]"#,
        "Lines as in known_hosts: what ssh-keyscan prints, after you compared it.",
    )],
};

pub static REGISTRY: Table = Table {
    header: "[orgs.NAME.registries.HOST]",
    about: "Credentials of a registry.",
    keys: &[
        required("username", ANY, r#""pull""#, "User name."),
        required("password_file", PATH, r#""/etc/hearth/secrets/registry""#, "File that only its owner may read."),
    ],
};

pub static SECRET: Table = Table {
    header: "[orgs.NAME.secrets.SECRET]",
    about: "A secret of the org.",
    keys: &[required("file", PATH, r#""/etc/hearth/secrets/npm""#, "File that only its owner may read.")],
};

pub static AUTO_START: Table = Table {
    header: "auto_start",
    about: "When a workspace starts by itself.",
    keys: &[
        required("at", Kind::Text("^[0-2][0-9]:[0-5][0-9]$"), r#""08:30""#, "Local time."),
        key("days", DAYS, r#"["mon", "tue"]"#, "the org's", "Days; those that the org forbids do not count."),
    ],
};

const AUTO_START_KIND: Kind = Kind::Either(&[TIME_OR_NEVER, Kind::Table(&AUTO_START)]);

pub static USER: Table = Table {
    header: "[users.NAME]",
    about: "A person.",
    keys: &[
        key("account", ANY, r#""alice.example""#, "the user's name", "Account on the host."),
        key("orgs", Kind::List(&NAME), r#"["acme"]"#, "[]", "The orgs that the user is a member of."),
        key("name", ANY, r#""Alice Example""#, "none", "Full name, for git."),
        key("email", ANY, r#""alice@acme.example""#, "none", "E-mail address, for git."),
        key("timezone", ANY, r#""Europe/Lisbon""#, "the server's", "IANA zone of auto-start."),
        key(
            "ssh_keys",
            Kind::List(&ANY),
            r#"["ssh-ed25519 AAAA… alice@laptop"]"#,
            "[]",
            "Public keys that may enter by the SSH gateway, which this version has not.",
        ),
        key(
            "authorized_keys",
            Kind::Switch,
            "true",
            "false",
            "Whether the host account's authorized_keys count there too.",
        ),
        key(
            "dotfiles",
            ANY,
            r#""git@git.acme.example:alice/dotfiles.git""#,
            "none",
            "Repository cloned to ~/dotfiles and installed.",
        ),
        key("auto_start", AUTO_START_KIND, r#""09:00""#, "never", "Default for the user's workspaces."),
        Key {
            name: "workspaces",
            kind: Kind::Named(NAME_PATTERN, &WORKSPACE),
            example: "",
            default: "none",
            required: false,
            about: "The user's workspaces by name. May stand in another file than the user.",
        },
    ],
};

pub static WORKSPACE: Table = Table {
    header: "[users.NAME.workspaces.NAME]",
    about: "A workspace: a container that may be lost at any time, and a home that is never lost.",
    keys: &[
        key("org", NAME, r#""acme""#, "the user's only org", "Needed only where the user has several."),
        key("image", IMAGE, r#""registry.acme.example/dev:2026""#, "the org's", "One that the org permits."),
        key("cpus", Kind::Number, "4.0", "the org's", "CPUs."),
        key("memory", SIZE, r#""8GiB""#, "the org's", "Memory, swap included."),
        key("pids", AT_LEAST_ONE, "4096", "the org's", "Processes and threads."),
        key("shm", SIZE, r#""64MiB""#, "the org's", "Size of /dev/shm."),
        key("gpus", COUNT, "0", "the org's", "GPUs, as the engine's device request."),
        key("auto_off", SPAN_OR_NEVER, r#""4h""#, "the org's", "Stop after this long without activity."),
        key("auto_start", AUTO_START_KIND, r#""09:00""#, "the user's", "When it starts by itself."),
        key("timezone", ANY, r#""Europe/Lisbon""#, "the user's", "IANA zone of its auto-start."),
        key(
            "ports",
            Kind::List(&PORT),
            r#"["127.0.0.1:8080:8080"]"#,
            "none",
            "Published ports: HOST_IP:HOST_PORT:CONTAINER_PORT.",
        ),
        Key {
            name: "env",
            kind: Kind::Entries(VARIABLE, &ANY),
            example: r#"{ EDITOR = "vim" }"#,
            default: "the org's",
            required: false,
            about: "Environment, laid over the org's.",
        },
    ],
};

/// All tables, for suggestions across them.
pub static ALL: [&Table; 15] = [
    &ROOT,
    &SERVER,
    &SSH,
    &METRICS,
    &ORG,
    &RESOURCES,
    &LIMITS,
    &MOUNT,
    &GIT,
    &GIT_HOST,
    &REGISTRY,
    &SECRET,
    &USER,
    &WORKSPACE,
    &AUTO_START,
];
