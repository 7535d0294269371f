-- Homes that were deleted, until they are restored or their time is over.
CREATE TABLE trash (
    volume     TEXT PRIMARY KEY,
    workspace  INTEGER NOT NULL REFERENCES workspace ON DELETE CASCADE,
    uid        INTEGER,
    gid        INTEGER,
    trashed_at TEXT NOT NULL,
    until      TEXT NOT NULL,
    who        TEXT NOT NULL,
    mounted_at TEXT, -- seen mounted since: it stays
    CHECK ((uid IS NULL) = (gid IS NULL))
) STRICT, WITHOUT ROWID;

-- What lies in the trash is nobody's home.
CREATE TRIGGER home_not_trash BEFORE INSERT ON home
WHEN EXISTS (SELECT 1 FROM trash WHERE volume = NEW.volume)
BEGIN SELECT RAISE(ABORT, 'this home is in the trash'); END;

CREATE TRIGGER home_not_trash_either BEFORE UPDATE OF volume ON home
WHEN EXISTS (SELECT 1 FROM trash WHERE volume = NEW.volume)
BEGIN SELECT RAISE(ABORT, 'this home is in the trash'); END;

CREATE TRIGGER trash_not_home BEFORE INSERT ON trash
WHEN EXISTS (SELECT 1 FROM home WHERE volume = NEW.volume)
BEGIN SELECT RAISE(ABORT, 'this home is a workspace''s current one'); END;
