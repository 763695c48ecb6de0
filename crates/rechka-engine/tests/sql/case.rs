//! The format of the files in `cases/`.
//!
//! A file is a list of blocks, separated by empty lines; lines that begin with `#` are comments.
//!
//! - `declare`: the statements that declare the relations of the file.
//! - `rows RELATION [PARTITION]`: input in the order of arrival. A row is a JSON array of the values of its columns, or a
//!   record as it is; `delete [key]` deletes a key of a table; `@TIME` before it is the record's time in milliseconds. A line `cut` ends an epoch, and so does the end of the block.
//! - `query TITLE`: statements, of which the last is a query without `CREATE`; before them a line `with OPTIONS`. Then sections:
//!   `----` the rows; `---- late` late rows, in which case `---- batch` has the rows over all input if they are others;
//!   `---- dead` dead letters of the query, as `TOPIC OFFSET: VALUE` (no offset if it is no record's), in which case `---- refused` has words
//!   of what is said at once;
//!   `---- changes` all records of the result in order, `- KEY` for one that deletes; `---- error` words of the refusal.
//!
//! Rows are values between bars; times are without the first day of 1970. Their order does not matter, but that of changes.
use std::collections::BTreeMap;

pub struct File {
    pub declarations: String,
    pub inputs: Vec<Input>,
    pub cases: Vec<Case>,
}

pub struct Input {
    pub relation: String,
    pub partition: u32,
    /// Lines, by epoch.
    pub epochs: Vec<Vec<String>>,
}

#[derive(Default)]
pub struct Case {
    pub title: String,
    pub options: String,
    pub text: String,
    /// By name; the rows have none.
    pub sections: BTreeMap<String, Vec<String>>,
}

pub fn parse(text: &str) -> File {
    let mut file = File {
        declarations: String::new(),
        inputs: Vec::new(),
        cases: Vec::new(),
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for block in lines.split(|line| line.is_empty()).filter(|block| !block.is_empty()) {
        let (head, body) = (block[0], &block[1..]);
        match head.split_once(' ').unwrap_or((head, "")) {
            ("declare", _) => file.declarations += &(body.join("\n") + "\n"),
            ("rows", to) => file.inputs.push(input(to, body)),
            ("query", title) => file.cases.push(case(title, body)),
            _ => panic!("a block begins with {head:?}"),
        }
    }
    file
}

fn input(to: &str, lines: &[&str]) -> Input {
    let (relation, partition) = to.split_once(' ').unwrap_or((to, "0"));
    let epochs = lines
        .split(|line| *line == "cut")
        .map(|lines| lines.iter().map(|&line| line.into()).collect());
    Input {
        relation: relation.to_owned(),
        partition: partition.parse().unwrap(),
        epochs: epochs.collect(),
    }
}

fn case(title: &str, lines: &[&str]) -> Case {
    let mut case = Case {
        title: title.to_owned(),
        ..Case::default()
    };
    let mut section: Option<&mut Vec<String>> = None;
    for line in lines {
        if let Some(name) = line.strip_prefix("----") {
            section = Some(case.sections.entry(name.trim().to_owned()).or_default());
        } else if let Some(section) = &mut section {
            section.push(line.trim_end().to_owned());
        } else if let Some(options) = line.strip_prefix("with ") {
            case.options = format!("WITH ({options})");
        } else {
            case.text += &format!("{line}\n");
        }
    }
    case
}
