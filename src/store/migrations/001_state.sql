-- Moments are RFC 3339 in UTC with nine digits behind the point, so that they sort as text.

PRAGMA application_id = 0x68727468; -- "hrth"

CREATE TABLE workspace (
    number      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    user        TEXT NOT NULL,
    name        TEXT NOT NULL,
    org         TEXT NOT NULL,
    removed_at  TEXT,
    power       TEXT NOT NULL CHECK (power IN ('on', 'off')),
    off_why     TEXT,
    power_since TEXT NOT NULL,
    UNIQUE (user, name),
    CHECK ((power = 'off') = (off_why IS NOT NULL))
) STRICT;

CREATE TABLE container (
    workspace  INTEGER PRIMARY KEY REFERENCES workspace ON DELETE CASCADE,
    id         TEXT NOT NULL UNIQUE,
    build      INTEGER NOT NULL,
    image_id   TEXT NOT NULL,
    username   TEXT NOT NULL,
    uid        INTEGER NOT NULL,
    gid        INTEGER NOT NULL,
    token_hash TEXT NOT NULL,
    spec       TEXT NOT NULL
) STRICT;

CREATE TABLE home (
    workspace INTEGER PRIMARY KEY REFERENCES workspace ON DELETE CASCADE,
    volume    TEXT NOT NULL UNIQUE, -- no two workspaces share a home (L1)
    uid       INTEGER,
    gid       INTEGER,
    CHECK ((uid IS NULL) = (gid IS NULL))
) STRICT;

CREATE TABLE build (
    workspace INTEGER NOT NULL REFERENCES workspace ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    record    TEXT NOT NULL CHECK (json_valid(record)),
    result    TEXT GENERATED ALWAYS AS (record ->> '$.result') VIRTUAL, -- null while it is queued or runs
    PRIMARY KEY (workspace, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX unfinished_build ON build (workspace, number) WHERE result IS NULL;

CREATE TABLE audit (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        TEXT NOT NULL,
    who       TEXT NOT NULL,
    source    TEXT NOT NULL,
    what      TEXT NOT NULL,
    workspace TEXT,
    before    TEXT,
    after     TEXT,
    result    TEXT NOT NULL
) STRICT;

CREATE TABLE member_settings (
    owner    TEXT PRIMARY KEY, -- `alice` or `alice/main`
    settings TEXT NOT NULL CHECK (json_valid(settings))
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The files of the last accepted configuration, in the order in which they were read; its time is in `meta`.
CREATE TABLE accepted_file (
    position INTEGER PRIMARY KEY,
    path     TEXT NOT NULL,
    text     TEXT NOT NULL
) STRICT;
