//! The tree of a parsed template.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::value::Value;

/// The templates of a text: its own and those it defines.
pub(crate) type Trees = BTreeMap<String, Vec<Node>>;

/// Something that is executed.
#[derive(Debug)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    Control {
        kind: Control,
        pipe: Pipe,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
    Template {
        name: String,
        pipe: Option<Pipe>,
        offset: usize,
    },
}

/// Which control structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    If,
    Range,
    With,
}

/// Commands; each gets the result of the one before as its last argument.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) offset: usize,
    pub(crate) assigns: bool,
    pub(crate) variables: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

/// A word and its arguments. Never empty.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) offset: usize,
    pub(crate) first: Operand,
    pub(crate) arguments: Vec<Operand>,
}

/// Names after dots, each with its place.
pub(crate) type Path = Vec<(String, usize)>;

/// A word of a command.
#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) offset: usize,
    pub(crate) kind: OperandKind,
}

/// What a word is.
#[derive(Debug)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    Constant(Value<'static>),
    /// An unsigned constant that no Go `int` holds: an error when it is used.
    TooLarge(String),
    Field(Path),
    Variable(String, Path),
    Function(&'static str),
    Parenthesised(Box<Pipe>),
    Chain(Box<Operand>, Path),
}

impl OperandKind {
    pub(crate) fn text(text: String) -> Self {
        OperandKind::Constant(Value::Text(Rc::from(text)))
    }
}

/// Whether a template has nothing but blanks, which a later definition may replace.
pub(crate) fn is_empty(nodes: &[Node]) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}
