use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, TableAlias, TableFactor, TableFunctionArgs,
};

use crate::Error;

/// A table or a table function in FROM.
pub(crate) fn table(name: Vec<Ident>, args: Option<Vec<FunctionArg>>, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName(name.into_iter().map(ObjectNamePart::Identifier).collect()),
        alias,
        args: args.map(|args| TableFunctionArgs { args, settings: None }),
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// A subquery in FROM.
pub(crate) fn derived(subquery: Box<Query>) -> TableFactor {
    TableFactor::Derived {
        lateral: false,
        subquery,
        alias: None,
        sample: None,
    }
}

/// A call of a function.
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    call_of(
        ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        args.into_iter().map(argument).collect(),
    )
}

fn call_of(name: ObjectName, args: Vec<FunctionArg>) -> Expr {
    Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn argument(value: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(value))
}

/// The arguments of a call, if all are plain expressions.
pub(super) fn arguments(call: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

/// By what its columns are qualified.
pub(super) fn name(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// `t AS a` becomes `FUNCTION(t, time, lengths…) AS a`.
pub(super) fn wrap(factor: &mut TableFactor, function: &str, time: Ident, lengths: Vec<Expr>) -> Result<(), Error> {
    let (input, alias) = match factor {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => {
            let path: Vec<Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).cloned().collect();
            (Expr::CompoundIdentifier(path), alias.take())
        }
        TableFactor::Table {
            name,
            alias,
            args: Some(args),
            ..
        } => (call_of(name.clone(), std::mem::take(&mut args.args)), alias.take()),
        TableFactor::Derived {
            subquery,
            alias,
            lateral: false,
            ..
        } => (Expr::Subquery(subquery.clone()), alias.take()),
        other => {
            return Err(Error::Plan(format!(
                "{other} can't be cut into windows: put it in a subquery"
            )));
        }
    };
    let args = [input, Expr::Identifier(time)]
        .into_iter()
        .chain(lengths)
        .map(argument)
        .collect();
    *factor = table(vec![Ident::new(function)], Some(args), alias);
    Ok(())
}
