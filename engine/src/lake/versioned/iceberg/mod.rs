//! Iceberg tables: the changes of each snapshot.
