-- When containers ended without being asked, JSON: so that one that ends again and again fails although hearthd is
-- restarted meanwhile.
CREATE TABLE ended (
    workspace INTEGER PRIMARY KEY REFERENCES workspace ON DELETE CASCADE,
    ends      TEXT NOT NULL CHECK (json_valid(ends))
) STRICT;
