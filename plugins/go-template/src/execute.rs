//! Runs a template against its data.

use serde_json::{Map, Value as Json};

use crate::Limits;
use crate::builtins;
use crate::error::At;
use crate::node::{Command, Control, Node, Operand, OperandKind, Path, Pipe, Trees};
use crate::printf;
use crate::value::Value;

/// The name of the template that is rendered.
pub(crate) const MAIN: &str = "values";

/// Runs the main template.
pub(crate) fn execute(trees: &Trees, data: &Json, limits: &Limits) -> Result<String, At> {
    let root = Value::of(data);
    let mut state = State {
        trees,
        limits,
        variables: vec![("$".to_owned(), root.clone())],
        output: String::new(),
        depth: 0,
        steps: 0,
        produced: 0,
    };
    let nodes = trees.get(MAIN).map(Vec::as_slice).unwrap_or_default();
    state.walk(&root, nodes)?;
    Ok(state.output)
}

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Done,
    Break,
    Continue,
}

struct State<'t, 'd> {
    trees: &'t Trees,
    limits: &'t Limits,
    /// The variables in scope, the innermost last.
    variables: Vec<(String, Value<'d>)>,
    output: String,
    depth: usize,
    steps: usize,
    /// Bytes of all strings functions made.
    produced: usize,
}

impl<'t, 'd> State<'t, 'd> {
    fn step(&mut self, offset: usize) -> Result<(), At> {
        self.steps += 1;
        if self.steps > self.limits.steps {
            return Err(At::new(
                offset,
                format!("the template takes more than {} steps", self.limits.steps),
            ));
        }
        Ok(())
    }

    fn enter(&mut self, offset: usize) -> Result<(), At> {
        self.step(offset)?;
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(At::new(
                offset,
                format!(
                    "exceeded the maximum template depth of {}",
                    self.limits.depth
                ),
            ));
        }
        Ok(())
    }

    fn write(&mut self, offset: usize, text: &str) -> Result<(), At> {
        if self.output.len() + text.len() > self.limits.output_bytes {
            return Err(At::new(
                offset,
                format!(
                    "the output has more than {} bytes",
                    self.limits.output_bytes
                ),
            ));
        }
        self.output.push_str(text);
        Ok(())
    }

    fn walk(&mut self, dot: &Value<'d>, nodes: &'t [Node]) -> Result<Flow, At> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(0, text)?,
                Node::Action(pipe) => {
                    let value = self.pipe(dot, pipe)?;
                    if pipe.variables.is_empty() {
                        self.write(pipe.offset, &printf::display(&value))?;
                    }
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
                Node::Template { name, pipe, offset } => {
                    self.template(dot, name, pipe.as_ref(), *offset)?
                }
                Node::Control {
                    kind,
                    pipe,
                    body,
                    otherwise,
                } => {
                    self.enter(pipe.offset)?;
                    let scope = self.variables.len();
                    let flow = match kind {
                        Control::Range => self.range(dot, pipe, body, otherwise)?,
                        kind => self.branch(*kind, dot, pipe, body, otherwise)?,
                    };
                    self.variables.truncate(scope);
                    self.depth -= 1;
                    if flow != Flow::Done {
                        return Ok(flow);
                    }
                }
            }
        }
        Ok(Flow::Done)
    }

    fn branch(
        &mut self,
        kind: Control,
        dot: &Value<'d>,
        pipe: &'t Pipe,
        body: &'t [Node],
        otherwise: &'t [Node],
    ) -> Result<Flow, At> {
        let value = self.pipe(dot, pipe)?;
        match (value.is_true(), kind) {
            (true, Control::With) => self.walk(&value, body),
            (true, _) => self.walk(dot, body),
            (false, _) => self.walk(dot, otherwise),
        }
    }

    fn range(
        &mut self,
        dot: &Value<'d>,
        pipe: &'t Pipe,
        body: &'t [Node],
        otherwise: &'t [Node],
    ) -> Result<Flow, At> {
        let value = self.pipe(dot, pipe)?;
        let mut ran = false;
        match &value {
            Value::List(items) => {
                for (index, item) in (0..).zip(items.iter()) {
                    ran = true;
                    if self.iteration(pipe, body, Value::Int(index), Value::of(item))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in in_order(map) {
                    ran = true;
                    if self.iteration(pipe, body, Value::text(key), Value::of(item))? {
                        break;
                    }
                }
            }
            Value::Int(_) | Value::Byte(_) => {
                if pipe.variables.len() > 1 {
                    return Err(At::new(
                        pipe.offset,
                        "can't use a number to iterate over more than one variable",
                    ));
                }
                for index in 0..value.as_int().unwrap_or(0) {
                    ran = true;
                    if self.iteration(pipe, body, Value::Int(index), Value::Int(index))? {
                        break;
                    }
                }
            }
            Value::Nil => {}
            other => {
                return Err(At::new(
                    pipe.offset,
                    format!("range can't iterate over {}", printf::display(other)),
                ));
            }
        }
        if ran {
            Ok(Flow::Done)
        } else {
            self.walk(dot, otherwise)
        }
    }

    /// One round; true when it is the last.
    fn iteration(
        &mut self,
        pipe: &'t Pipe,
        body: &'t [Node],
        index: Value<'d>,
        item: Value<'d>,
    ) -> Result<bool, At> {
        self.step(pipe.offset)?;
        let scope = self.variables.len();
        // With two variables the index comes first, with one it is the item.
        let values: Vec<Value<'d>> = if pipe.variables.len() > 1 {
            vec![index, item.clone()]
        } else {
            vec![item.clone()]
        };
        for (name, value) in pipe.variables.iter().zip(values) {
            if pipe.assigns {
                self.assign(name, value, pipe.offset)?;
            } else {
                self.variables.push((name.clone(), value));
            }
        }
        let flow = self.walk(&item, body)?;
        self.variables.truncate(scope);
        Ok(flow == Flow::Break)
    }

    fn template(
        &mut self,
        dot: &Value<'d>,
        name: &str,
        pipe: Option<&'t Pipe>,
        offset: usize,
    ) -> Result<(), At> {
        let Some(nodes) = self.trees.get(name) else {
            return Err(At::new(offset, format!("template {name:?} not defined")));
        };
        self.enter(offset)?;
        let inner = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nil,
        };
        // A template sees no variables but its own dot.
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), inner.clone())]);
        self.walk(&inner, nodes)?;
        self.variables = outer;
        self.depth -= 1;
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value<'d>, offset: usize) -> Result<(), At> {
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name)
        {
            Some((_, variable)) => {
                *variable = value;
                Ok(())
            }
            None => Err(At::new(offset, format!("undefined variable: {name}"))),
        }
    }

    /// Runs the commands of a pipe; the variables of a `range` are set by its iterations.
    fn pipe(&mut self, dot: &Value<'d>, pipe: &'t Pipe) -> Result<Value<'d>, At> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(dot, command, last)?);
        }
        let value = last.unwrap_or(Value::Nil);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone(), pipe.offset)?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Value<'d>,
        command: &'t Command,
        last: Option<Value<'d>>,
    ) -> Result<Value<'d>, At> {
        self.step(command.offset)?;
        let first = &command.first;
        let has_arguments = !command.arguments.is_empty() || last.is_some();
        match &first.kind {
            OperandKind::Function(name) => {
                self.function(dot, name, first.offset, &command.arguments, last)
            }
            OperandKind::Nil => Err(At::new(first.offset, "nil is not a command")),
            _ if !has_arguments => self.operand(dot, first),
            OperandKind::Field(path)
            | OperandKind::Chain(_, path)
            | OperandKind::Variable(_, path)
                if !path.is_empty() =>
            {
                // The path itself is looked at first, as in Go: a missing key is the better message.
                self.operand(dot, first)?;
                let name = path
                    .last()
                    .map(|(name, _)| name.as_str())
                    .unwrap_or_default();
                Err(At::new(
                    first.offset,
                    format!("{name} is not a method but has arguments"),
                ))
            }
            _ => Err(At::new(first.offset, "can't give argument to non-function")),
        }
    }

    fn operand(&mut self, dot: &Value<'d>, operand: &'t Operand) -> Result<Value<'d>, At> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Constant(value) => Ok(value.clone()),
            OperandKind::TooLarge(text) => {
                Err(At::new(operand.offset, format!("{text} overflows int")))
            }
            OperandKind::Field(path) => fields(dot.clone(), path),
            OperandKind::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                match found {
                    Some((_, value)) => fields(value.clone(), path),
                    None => Err(At::new(
                        operand.offset,
                        format!("undefined variable: {name}"),
                    )),
                }
            }
            OperandKind::Function(name) => self.function(dot, name, operand.offset, &[], None),
            OperandKind::Parenthesised(pipe) => {
                self.enter(operand.offset)?;
                let value = self.pipe(dot, pipe)?;
                self.depth -= 1;
                Ok(value)
            }
            OperandKind::Chain(inner, path) => {
                let value = self.operand(dot, inner)?;
                fields(value, path)
            }
        }
    }

    fn function(
        &mut self,
        dot: &Value<'d>,
        name: &str,
        offset: usize,
        arguments: &'t [Operand],
        last: Option<Value<'d>>,
    ) -> Result<Value<'d>, At> {
        let failed = |reason| At::new(offset, reason);
        builtins::check_count(name, arguments.len() + usize::from(last.is_some()))
            .map_err(failed)?;
        let short_circuit = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            let value = self.operand(dot, argument)?;
            if short_circuit == Some(value.is_true()) {
                return Ok(value);
            }
            values.push(value);
        }
        values.extend(last);
        if short_circuit.is_some() {
            return Ok(values.pop().unwrap_or(Value::Nil));
        }
        let left = self.limits.output_bytes.saturating_sub(self.produced);
        let value = builtins::call(name, &values, left).map_err(failed)?;
        if let Value::Text(text) = &value {
            self.produced += text.len();
            if self.produced > self.limits.output_bytes {
                let limit = self.limits.output_bytes;
                return Err(At::new(
                    offset,
                    format!("the functions make more than {limit} bytes of text"),
                ));
            }
        }
        Ok(value)
    }
}

/// The entries in the order of their keys, whatever order the map keeps.
fn in_order(map: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut entries: Vec<(&String, &Json)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn fields<'d>(mut value: Value<'d>, path: &Path) -> Result<Value<'d>, At> {
    for (name, offset) in path {
        value = match value {
            Value::Map(map) => match map.get(name) {
                Some(item) => Value::of(item),
                None => {
                    let known = in_order(map)
                        .into_iter()
                        .map(|(key, _)| key.as_str())
                        .collect::<Vec<_>>()
                        .join(", ");
                    let known = if known.is_empty() {
                        "it has none".to_owned()
                    } else {
                        format!("it has: {known}")
                    };
                    return Err(At::new(
                        *offset,
                        format!("map has no entry for key {name:?}; {known}"),
                    ));
                }
            },
            Value::Nil => return Err(At::new(*offset, format!("nil has no field {name}"))),
            other => {
                return Err(At::new(
                    *offset,
                    format!("can't evaluate field {name} in type {}", other.type_name()),
                ));
            }
        };
    }
    Ok(value)
}
