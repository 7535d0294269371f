-- When the container was last started by hearthd, in the engine's words: one that shows another time was started by
-- somebody else, and what was injected is gone.
ALTER TABLE container ADD COLUMN started_at TEXT;
-- The number of the socket directory that it mounts, where that is not its workspace's: it was taken over after
-- the database was lost.
ALTER TABLE container ADD COLUMN door INTEGER;
