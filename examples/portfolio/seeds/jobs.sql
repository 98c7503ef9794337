-- Loaded once into an empty SQL Server.
CREATE DATABASE jobs;
GO
USE jobs;
CREATE TABLE companies (id INT PRIMARY KEY, name NVARCHAR(100) NOT NULL);
CREATE TABLE jobs (id INT PRIMARY KEY, company INT NOT NULL REFERENCES companies (id), title NVARCHAR(200) NOT NULL);
INSERT INTO companies VALUES (1, 'Northern Lamps'), (2, 'Tidewater Tools');
INSERT INTO jobs VALUES (1, 1, 'Lamp tester'), (2, 1, 'Night shift planner'), (3, 2, 'Toolmaker');
GO
