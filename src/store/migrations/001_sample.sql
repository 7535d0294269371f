-- What a database of version 1 may hold; for the tests of the migrations after it. Never edited.

INSERT INTO workspace VALUES (1, 'alice', 'main', 'acme', NULL, 'on', NULL, '2026-01-02T03:04:05.000000000Z');
INSERT INTO workspace VALUES (7, 'bob', 'old', 'acme', '2026-02-01T00:00:00.000000000Z', 'off', 'removed', '2026-02-01T00:00:00.000000000Z');
INSERT INTO container VALUES (1, '4f5a', 3, 'sha256:aa', 'coder', 1000, 1000, 'bb', '{"image":"debian"}');
INSERT INTO home VALUES (1, 'hearth.alice.main.home', 1000, 1000);
INSERT INTO home VALUES (7, 'hearth.bob.old.home', NULL, NULL);
INSERT INTO build (workspace, number, record) VALUES
    (1, 3, '{"number":3,"reason":"auto-start","requester":"hearthd","queued_at":"2026-01-02T03:04:00Z","started_at":"2026-01-02T03:04:01.5Z","ended_at":"2026-01-02T03:04:05Z","stage":"personalize","stages":[{"stage":"pull","started_at":"2026-01-02T03:04:01.5Z","took":{"secs":0,"nanos":1000000}},{"stage":"create","started_at":"2026-01-02T03:04:01.6Z","took":{"secs":0,"nanos":9500000}},{"stage":"start","started_at":"2026-01-02T03:04:01.7Z","took":{"secs":0,"nanos":190000000}},{"stage":"inject","started_at":"2026-01-02T03:04:02Z","took":{"secs":0,"nanos":45000000}},{"stage":"configure","started_at":"2026-01-02T03:04:03Z","took":{"secs":1,"nanos":0}},{"stage":"personalize","started_at":"2026-01-02T03:04:04Z","took":{"secs":1,"nanos":0}}],"result":"ok","failure":null,"warnings":[{"hook":"personalize","kind":"exit","exit_code":1,"message":"personalize ended with 1","tail":["no such file"]}],"image":"debian","image_digest":null}'),
    (7, 1, '{"number":1,"reason":"create","requester":"hearthd","queued_at":"2026-01-31T00:00:00Z","started_at":null,"ended_at":null,"stage":null,"stages":[],"result":null,"failure":null,"warnings":[],"image":"debian","image_digest":null}');
INSERT INTO audit VALUES (1, '2026-01-02T03:04:05.000000000Z', 'dana', 'host', 'stop', 'alice/main', 'running', 'off', 'ok');
INSERT INTO member_settings VALUES ('alice/main', '{"cpus":2.0}');
INSERT INTO meta VALUES ('accepted-at', '2026-01-02T03:04:05.000000000Z');
INSERT INTO accepted_file VALUES (1, '/etc/hearth/hearth.toml', '[server]');
