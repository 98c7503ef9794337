-- Loaded once into an empty PostgreSQL.
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE job_embeddings (job integer PRIMARY KEY, embedding vector(3) NOT NULL);
INSERT INTO job_embeddings VALUES (1, '[0.9, 0.1, 0.2]'), (2, '[0.8, 0.3, 0.1]'), (3, '[0.1, 0.9, 0.7]');
