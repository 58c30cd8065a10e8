-- So is a table of another schema that something here needs.
--: production
CREATE SCHEMA crm; CREATE TABLE crm.person (id int PRIMARY KEY); CREATE TABLE t (p int REFERENCES crm.person);
--: refused on staging: there is no table `crm.person`
