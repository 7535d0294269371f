-- Stands for what was last brought into it besides the token. Null, not known: then it is brought once more.
ALTER TABLE container ADD COLUMN injected TEXT;
