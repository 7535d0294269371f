-- JSON whose meaning is that of `activity` and `schedule`.

CREATE TABLE activity (
    workspace INTEGER PRIMARY KEY REFERENCES workspace ON DELETE CASCADE,
    ledger    TEXT NOT NULL CHECK (json_valid(ledger))
) STRICT;

CREATE TABLE schedule (
    workspace INTEGER PRIMARY KEY REFERENCES workspace ON DELETE CASCADE,
    known     TEXT NOT NULL CHECK (json_valid(known))
) STRICT;

CREATE TABLE hold (
    number    INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    workspace INTEGER NOT NULL REFERENCES workspace ON DELETE CASCADE,
    hold      TEXT NOT NULL CHECK (json_valid(hold))
) STRICT;

CREATE TABLE away (
    user  TEXT PRIMARY KEY,
    until TEXT NOT NULL -- `2027-01-07`: the day on which the user is back
) STRICT, WITHOUT ROWID;
