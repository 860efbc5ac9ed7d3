//! What a database holds besides rows.

/// A name as the engine has it, unquoted. `schema` is empty where the engine has none within a database (MySQL, SQLite).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ObjectName {
    pub schema: String,
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.schema.is_empty() { f.write_str(&self.name) } else { write!(f, "{}.{}", self.schema, self.name) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    pub name: String,
    /// The engine's own type text: `bigint unsigned`, `numeric(10,2)`.
    pub type_name: String,
    pub nullable: bool,
    /// Computed by the database: never written, still compared.
    pub generated: bool,
    /// Character set and collation, where the column has its own.
    pub collation: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Table {
    pub name: ObjectName,
    pub columns: Vec<Column>,
    /// Columns of the primary key, or of a unique key without NULLs; empty: the table has no key and one range.
    pub key: Vec<String>,
    /// Estimates of the engine.
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Schema,
    Extension,
    Type,
    Sequence,
    Routine,
    Table,
    Index,
    ForeignKey,
    Constraint,
    View,
    Trigger,
    Event,
    /// Comments, defaults added later, ownership, positions: anything else that is a statement.
    Property,
}

/// When an object is made, seen from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Schemas, types, sequences, tables.
    BeforeRows,
    /// The tables' keys, where rows load faster without them: after the rows of a first bulk copy, but before those of a copy
    /// that goes on (its ranges may hold rows already, and the key finds them).
    Keys,
    /// Secondary indexes: after the bulk copy, before the final pass.
    AfterRows,
    /// Foreign keys, views, routines, triggers, events: after the final pass.
    AtTheEnd,
}

/// One object with the statements that make it, in the source's dialect. The target connector adapts them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SchemaObject {
    pub kind: ObjectKind,
    pub phase: Phase,
    pub name: ObjectName,
    /// The table it belongs to (index, foreign key, trigger).
    pub table: Option<ObjectName>,
    pub statements: Vec<String>,
}

/// Something that stays behind, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unmovable {
    pub kind: String,
    pub name: String,
    pub reason: String,
}

/// Everything, in an order in which it can be made: within a phase the objects stand after what they need.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Schema {
    pub tables: Vec<Table>,
    pub objects: Vec<SchemaObject>,
    pub unmovable: Vec<Unmovable>,
    /// Server product and version, default character set and collation.
    pub server: String,
    pub charset: String,
    pub collation: String,
    /// What the making of a database must say for it to be as this one, in the engine's own words (encoding and locale). Empty where nothing needs
    /// to be said, or it can be said later too.
    #[serde(default)]
    pub making: String,
}

/// What hangs on some objects of a database besides their own descriptions ([`super::RowSource::attached`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Attached {
    /// Belongs to others and goes when the objects are dropped: foreign keys of other tables that point at them, memberships in publications. To be
    /// made again once objects of these names are there.
    pub severed: Vec<SchemaObject>,
    /// Owners and exact rights: for bringing back the same objects, last of all.
    pub ownership: Vec<SchemaObject>,
    /// What is said about the database and its schemas, as it stands now, including what is not set.
    pub containers: Vec<SchemaObject>,
    /// What others built on the objects, and so keeps them from being dropped.
    pub holding: Vec<Unmovable>,
}
