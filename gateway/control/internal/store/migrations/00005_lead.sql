-- Which of several control processes decides: one at a time, until expires by the
-- database's own clock, in a term with a number of its own.

-- +goose Up
CREATE TABLE lead (
  one     BIGINT PRIMARY KEY,
  term    BIGINT NOT NULL,
  control TEXT NOT NULL,
  url     TEXT NOT NULL,
  pin     TEXT NOT NULL,
  expires BIGINT NOT NULL
);
INSERT INTO lead (one, term, control, url, pin, expires) VALUES (1, 0, '', '', '', 0);

-- +goose Down
DROP TABLE lead;
