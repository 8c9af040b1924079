-- Who is signed in at a console, so that a login outlives the process that began it. Of
-- the secret of a browser its hash alone; refresh is sealed by that secret.

-- +goose Up
CREATE TABLE logins (
  id        TEXT PRIMARY KEY,
  hash      TEXT NOT NULL UNIQUE,
  source    TEXT NOT NULL,
  name      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  groups_   TEXT NOT NULL,
  refresh   TEXT NOT NULL,
  began     BIGINT NOT NULL,
  seen      BIGINT NOT NULL,
  confirmed BIGINT NOT NULL
);
CREATE INDEX logins_began ON logins (began, id);

-- +goose Down
DROP TABLE logins;
