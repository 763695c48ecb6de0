use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};

use super::{Object, Target};
use crate::{Catalog, Error, Kind, Metadata, Relation, catalog::Named};

/// The answer to `SHOW`: name, kind and place of what there is.
pub fn show(catalog: &Catalog, object: Option<Object>) -> RecordBatch {
    let rows = catalog.iter().filter_map(|(name, named)| {
        let (of, kind, place) = match named {
            Named::Relation(relation) => {
                let (of, kind) = match relation.kind {
                    Kind::Stream => (Object::Stream, "stream"),
                    Kind::Table => (Object::Table, "table"),
                    Kind::View => (Object::View, "materialized view"),
                };
                (of, kind, place(relation))
            }
            Named::Query(_) => (Object::View, "view", String::new()),
            Named::Sink(Target::Topic { topic, .. }) => (Object::Sink, "sink", format!("topic {topic}")),
            Named::Sink(Target::Files { directory, .. }) => {
                (Object::Sink, "sink", format!("files {}", directory.display()))
            }
        };
        let wanted = object.is_none_or(|object| object == of);
        wanted.then(|| [name.to_owned(), kind.to_owned(), place])
    });
    table(["name", "kind", "place"], rows)
}

/// The answer to `DESCRIBE`: the columns with their types and roles.
pub fn describe(catalog: &Catalog, name: &str) -> Result<RecordBatch, Error> {
    let rows: Vec<_> = match catalog.get(name).ok_or_else(|| catalog.unknown(name))? {
        Named::Relation(relation) => columns(&relation.schema, |index| role(relation, index)),
        Named::Query(plan) => columns(plan.schema().inner(), |_| String::new()),
        Named::Sink(_) => return Err(Error::Plan(format!("{name} is a sink: DESCRIBE what it is made from"))),
    };
    Ok(table(["column", "type", "role"], rows))
}

fn columns(schema: &Schema, role: impl Fn(usize) -> String) -> Vec<[String; 3]> {
    let column = |(index, field): (usize, &Arc<Field>)| {
        let required = if field.is_nullable() { "" } else { " NOT NULL" };
        [
            field.name().clone(),
            format!("{}{required}", field.data_type()),
            role(index),
        ]
    };
    schema.fields().iter().enumerate().map(column).collect()
}

fn role(relation: &Relation, index: usize) -> String {
    let time = relation.event_time.as_ref().filter(|time| time.column == index);
    let metadata = relation
        .metadata
        .iter()
        .find(|(column, _)| *column == index)
        .map(|(_, metadata)| match metadata {
            Metadata::Key => "the record's key".to_owned(),
            Metadata::Timestamp => "the record's timestamp".to_owned(),
            Metadata::Offset => "the record's offset".to_owned(),
            Metadata::Partition => "the record's partition".to_owned(),
            Metadata::Header(name) => format!("the record's header {name}"),
        });
    let roles = [
        relation.key.contains(&index).then(|| "key".to_owned()),
        time.map(|time| format!("event time, {:?} late at most", time.delay)),
        metadata,
    ];
    roles.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn place(relation: &Relation) -> String {
    match &relation.file {
        Some(path) => format!("file {}", path.display()),
        None => format!("topic {} ({} partitions)", relation.topic, relation.partitions),
    }
}

fn table(names: [&str; 3], rows: impl IntoIterator<Item = [String; 3]>) -> RecordBatch {
    let fields = names.map(|name| Field::new(name, DataType::Utf8, false)).to_vec();
    let rows: Vec<_> = rows.into_iter().collect();
    let columns =
        (0..3).map(|index| Arc::new(rows.iter().map(|row| Some(&row[index])).collect::<StringArray>()) as ArrayRef);
    let schema = Arc::new(Schema::new(fields));
    #[expect(
        clippy::expect_used,
        reason = "three text columns of the same length, as the schema says"
    )]
    RecordBatch::try_new(schema, columns.collect()).expect("a table of texts")
}
