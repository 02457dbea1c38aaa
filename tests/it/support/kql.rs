//! Reads as much of a Kusto query as is needed to hold it against the lines that the program really writes.
//!
//! On Azure each line of output is the `Message` of a row of `AppTraces`. A query takes rows by the words in them and
//! looks into their JSON by `line.field`; a word that no line has, or a field that none of the rows has, is a mistake
//! that Azure would never tell: the query would just find nothing.

use std::collections::BTreeSet;

use serde_json::Value;

/// Words that the Functions host writes, not the program.
/// <https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Queues/src/Listeners/QueueProcessor.cs>
const OF_THE_HOST: [&str; 1] = ["Message has reached MaxDequeueCount"];

/// The tables that queries name.
const TABLES: [&str; 4] = [
    "AppTraces",
    "AppRequests",
    "AZKVAuditLogs",
    "StorageBlobLogs",
];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The part of a query that reads the program's own lines.
struct Rows {
    /// A row has one text of each list.
    filters: Vec<Vec<String>>,
    texts: BTreeSet<String>,
    fields: BTreeSet<String>,
}

/// The fields of log lines that a query names.
pub(crate) fn fields(query: &str) -> BTreeSet<String> {
    let parts = rows(query).into_iter();
    parts.flat_map(|rows| rows.fields).collect()
}

/// What is wrong with a query, given all lines that there are.
pub(crate) fn problems(query: &str, lines: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for rows in rows(query) {
        let taken: Vec<&String> = lines
            .iter()
            .filter(|line| {
                let mut filters = rows.filters.iter();
                filters.all(|texts| texts.iter().any(|text| holds(line, text)))
            })
            .collect();
        for text in &rows.texts {
            if !taken.iter().any(|line| holds(line, text)) && !OF_THE_HOST.contains(&text.as_str())
            {
                problems.push(format!("no line that it takes says `{text}`"));
            }
        }
        for field in &rows.fields {
            let has = |line: &&String| {
                serde_json::from_str::<Value>(line).is_ok_and(|line| line.get(field).is_some())
            };
            if !taken.iter().any(has) {
                problems.push(format!("no line that it takes has a field `{field}`"));
            }
        }
    }
    problems
}

/// As `has` does, a text is looked for without regard to case.
fn holds(line: &str, text: &str) -> bool {
    line.to_lowercase().contains(&text.to_lowercase())
}

/// One for each place where a query reads `AppTraces`, up to the next table.
fn rows(query: &str) -> Vec<Rows> {
    let tokens = tokens(query);
    let is_table =
        |token: &Token| matches!(token, Token::Word(word) if TABLES.contains(&word.as_str()));
    let starts: Vec<usize> = (0..tokens.len())
        .filter(|at| is_table(&tokens[*at]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([tokens.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &tokens[*start..end])
        .filter(|part| part[0] == Token::Word("AppTraces".to_owned()))
        .map(read_part)
        .collect()
}

fn read_part(part: &[Token]) -> Rows {
    let mut rows = Rows {
        filters: Vec::new(),
        texts: BTreeSet::new(),
        fields: BTreeSet::new(),
    };
    let mut in_where = false;
    // Open parentheses of a `strcat(…)`: what stands there is said by the query.
    let mut building = None;
    for (at, token) in part.iter().enumerate() {
        let word = |ahead: usize| match part.get(at + ahead) {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        building = match (token, building) {
            (Token::Word(name), None) if name == "strcat" => Some(0),
            (Token::Sign('('), Some(open)) => Some(open + 1),
            (Token::Sign(')'), Some(open)) => Some(open - 1).filter(|open| *open > 0),
            (_, building) => building,
        };
        match token {
            Token::Sign('|') => in_where = word(1) == "where",
            Token::Word(name) if name == "Message" && in_where && word(1).starts_with("has") => {
                let texts = part[at + 2..].iter();
                let texts = texts
                    .take_while(|token| !matches!(token, Token::Sign(')' | '|') | Token::Word(_)));
                let texts: Vec<String> = texts.filter_map(text).collect();
                // `has id` looks for what a person puts in.
                if !texts.is_empty() {
                    rows.filters.push(texts);
                }
            }
            Token::Word(name) if name == "line" && part.get(at + 1) == Some(&Token::Sign('.')) => {
                rows.fields.insert(word(2).to_owned());
            }
            Token::Text(text) if !text.is_empty() && building.is_none() => {
                rows.texts.insert(text.clone());
            }
            _ => {}
        }
    }
    rows
}

fn text(token: &Token) -> Option<String> {
    match token {
        Token::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for line in query
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let is_word = |it: char| it.is_alphanumeric() || it == '_';
            let (token, length) = if first == '"' {
                let text = rest[1..].split('"').next().unwrap();
                (Some(Token::Text(text.to_owned())), text.len() + 2)
            } else if is_word(first) {
                let word = rest.split(|it| !is_word(it)).next().unwrap();
                (Some(Token::Word(word.to_owned())), word.len())
            } else {
                let sign = (!first.is_whitespace()).then_some(Token::Sign(first));
                (sign, first.len_utf8())
            };
            tokens.extend(token);
            rest = &rest[length.min(rest.len())..];
        }
    }
    tokens
}
