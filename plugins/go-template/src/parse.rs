//! Builds the tree of a template. The grammar is that of Go's text/template/parse.

use crate::builtins;
use crate::constant;
use crate::error::At;
use crate::lex::{Item, Kind};
use crate::node::{Command, Control, Node, Operand, OperandKind, Path, Pipe, Trees, is_empty};
use crate::value::Value;

/// Parses items into the template `name` and those it defines. `depth` bounds how deep actions may nest.
pub(crate) fn parse(name: &str, items: &[Item<'_>], depth: usize) -> Result<Trees, At> {
    let mut parser = Parser {
        items,
        position: 0,
        variables: vec!["$".to_owned()],
        ranges: 0,
        depth: 0,
        max_depth: depth,
        trees: Trees::new(),
    };
    let mut root = Vec::new();
    while parser.peek().kind != Kind::Eof {
        if parser.peek().kind == Kind::LeftDelim {
            let delimiter = parser.position;
            parser.next();
            let word = parser.next_word();
            if word.kind == Kind::Define {
                parser.definition()?;
                continue;
            }
            parser.position = delimiter;
        }
        match parser.text_or_action()? {
            Step::Node(node) => root.push(node),
            Step::End(offset) => return Err(At::new(offset, "unexpected {{end}}")),
            Step::Else(offset) => return Err(At::new(offset, "unexpected {{else}}")),
        }
    }
    parser.add(name, root, 0)?;
    Ok(parser.trees)
}

enum Step {
    Node(Node),
    End(usize),
    Else(usize),
}

struct Parser<'i, 't> {
    items: &'i [Item<'t>],
    position: usize,
    /// The variables in scope, `$` first.
    variables: Vec<String>,
    /// How many ranges enclose this place.
    ranges: usize,
    depth: usize,
    max_depth: usize,
    trees: Trees,
}

impl<'t> Parser<'_, 't> {
    fn peek(&self) -> Item<'t> {
        let end = Item {
            kind: Kind::Eof,
            text: "",
            offset: 0,
        };
        self.items
            .get(self.position)
            .or(self.items.last())
            .copied()
            .unwrap_or(end)
    }

    fn next(&mut self) -> Item<'t> {
        let item = self.peek();
        self.position = self.items.len().min(self.position + 1);
        item
    }

    fn skip_spaces(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next();
        }
    }

    fn next_word(&mut self) -> Item<'t> {
        self.skip_spaces();
        self.next()
    }

    fn peek_word(&mut self) -> Item<'t> {
        self.skip_spaces();
        self.peek()
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item<'t>, At> {
        let item = self.next_word();
        if item.kind == kind {
            Ok(item)
        } else {
            Err(unexpected(item, context))
        }
    }

    fn enter(&mut self, offset: usize) -> Result<(), At> {
        self.depth += 1;
        if self.depth > self.max_depth {
            return Err(At::new(
                offset,
                format!("nested more than {} levels deep", self.max_depth),
            ));
        }
        Ok(())
    }

    fn add(&mut self, name: &str, nodes: Vec<Node>, offset: usize) -> Result<(), At> {
        match self.trees.get(name) {
            Some(existing) if !is_empty(existing) => {
                if !is_empty(&nodes) {
                    return Err(At::new(
                        offset,
                        format!("multiple definition of template {name:?}"),
                    ));
                }
            }
            _ => {
                self.trees.insert(name.to_owned(), nodes);
            }
        }
        Ok(())
    }

    fn name(&mut self, context: &str) -> Result<(String, usize), At> {
        let item = self.next_word();
        match item.kind {
            Kind::Text1 | Kind::RawText => Ok((constant::unquote(item)?, item.offset)),
            _ => Err(unexpected(item, context)),
        }
    }

    /// A template of its own, with its own scope.
    fn separate(&mut self, name: &str, offset: usize, context: &str) -> Result<(), At> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        self.enter(offset)?;
        let (nodes, end) = self.list()?;
        self.depth -= 1;
        if let Step::Else(offset) = end {
            return Err(At::new(
                offset,
                format!("unexpected {{{{else}}}} in {context}"),
            ));
        }
        self.variables = variables;
        self.ranges = ranges;
        self.add(name, nodes, offset)
    }

    fn definition(&mut self) -> Result<(), At> {
        let (name, offset) = self.name("define clause")?;
        self.expect(Kind::RightDelim, "define clause")?;
        self.separate(&name, offset, "define clause")
    }

    /// Nodes up to an end or else, which is returned.
    fn list(&mut self) -> Result<(Vec<Node>, Step), At> {
        let mut nodes = Vec::new();
        while self.peek_word().kind != Kind::Eof {
            match self.text_or_action()? {
                Step::Node(node) => nodes.push(node),
                end => return Ok((nodes, end)),
            }
        }
        Err(At::new(
            self.peek().offset,
            "unexpected EOF: an {{end}} is missing",
        ))
    }

    fn text_or_action(&mut self) -> Result<Step, At> {
        let item = self.next_word();
        match item.kind {
            Kind::Text => Ok(Step::Node(Node::Text(item.text.to_owned()))),
            Kind::LeftDelim => self.action(),
            _ => Err(unexpected(item, "input")),
        }
    }

    fn action(&mut self) -> Result<Step, At> {
        let item = self.peek_word();
        let node = match item.kind {
            Kind::If => self.control(Control::If)?,
            Kind::Range => self.control(Control::Range)?,
            Kind::With => self.control(Control::With)?,
            Kind::Break => self.leave(item, "break", Node::Break)?,
            Kind::Continue => self.leave(item, "continue", Node::Continue)?,
            Kind::Block => self.block()?,
            Kind::Template => self.template()?,
            Kind::End => {
                self.next();
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Step::End(item.offset));
            }
            Kind::Else => {
                self.next();
                // `else if` and `else with` go on; the control they belong to looks at them.
                if !matches!(self.peek_word().kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Step::Else(item.offset));
            }
            _ => Node::Action(self.pipe("command", Kind::RightDelim)?),
        };
        Ok(Step::Node(node))
    }

    fn leave(&mut self, item: Item<'_>, word: &str, node: Node) -> Result<Node, At> {
        self.next();
        self.expect(Kind::RightDelim, &format!("{{{{{word}}}}}"))?;
        if self.ranges == 0 {
            return Err(At::new(
                item.offset,
                format!("{{{{{word}}}}} outside {{{{range}}}}"),
            ));
        }
        Ok(node)
    }

    fn control(&mut self, kind: Control) -> Result<Node, At> {
        let word = self.next_word();
        self.enter(word.offset)?;
        let scope = self.variables.len();
        let context = match kind {
            Control::If => "if",
            Control::Range => "range",
            Control::With => "with",
        };
        let pipe = self.pipe(context, Kind::RightDelim)?;
        let in_range = usize::from(kind == Control::Range);
        self.ranges += in_range;
        let (body, end) = self.list()?;
        self.ranges -= in_range;
        let otherwise = match end {
            Step::Else(_) => self.otherwise(kind)?,
            _ => Vec::new(),
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Node::Control {
            kind,
            pipe,
            body,
            otherwise,
        })
    }

    fn otherwise(&mut self, kind: Control) -> Result<Vec<Node>, At> {
        match (kind, self.peek_word().kind) {
            (Control::If, Kind::If) | (Control::With, Kind::With) => Ok(vec![self.control(kind)?]),
            _ => match self.list()? {
                (_, Step::Else(offset)) => Err(At::new(offset, "expected end; found {{else}}")),
                (nodes, _) => Ok(nodes),
            },
        }
    }

    fn block(&mut self) -> Result<Node, At> {
        self.next();
        let (name, offset) = self.name("block clause")?;
        let pipe = self.pipe("block", Kind::RightDelim)?;
        self.separate(&name, offset, "block clause")?;
        Ok(Node::Template {
            name,
            pipe: Some(pipe),
            offset,
        })
    }

    fn template(&mut self) -> Result<Node, At> {
        self.next();
        let (name, offset) = self.name("template clause")?;
        let pipe = if self.peek_word().kind == Kind::RightDelim {
            self.next();
            None
        } else {
            Some(self.pipe("template", Kind::RightDelim)?)
        };
        Ok(Node::Template { name, pipe, offset })
    }

    /// Declarations and commands, up to and with the item `end`.
    fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe, At> {
        let offset = self.peek_word().offset;
        self.enter(offset)?;
        let mut pipe = Pipe {
            offset,
            assigns: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let item = self.peek_word();
            if item.kind == end {
                self.next();
                break;
            }
            if !starts_operand(item.kind) {
                return Err(unexpected(item, context));
            }
            pipe.commands.push(self.command()?);
        }
        self.depth -= 1;
        check_pipe(&pipe, context)?;
        Ok(pipe)
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), At> {
        while self.peek_word().kind == Kind::Variable {
            let before = self.position;
            let variable = self.next();
            let sign = self.peek_word();
            let another = sign.kind == Kind::Char && sign.text == ",";
            if !another && !matches!(sign.kind, Kind::Assign | Kind::Declare) {
                // A variable that is used, not declared.
                self.position = before;
                return Ok(());
            }
            self.next();
            pipe.variables.push(variable.text.to_owned());
            self.variables.push(variable.text.to_owned());
            if !another {
                pipe.assigns = sign.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipe.variables.len() >= 2 {
                return Err(At::new(
                    sign.offset,
                    format!("too many declarations in {context}"),
                ));
            }
            if !matches!(
                self.peek_word().kind,
                Kind::Variable | Kind::RightDelim | Kind::RightParen
            ) {
                return Err(At::new(sign.offset, "range can only initialize variables"));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, At> {
        let offset = self.peek_word().offset;
        let mut words = Vec::new();
        loop {
            self.skip_spaces();
            words.extend(self.operand()?);
            let item = self.peek();
            match item.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => break,
                Kind::Pipe => {
                    self.next();
                    break;
                }
                _ => return Err(unexpected(item, "operand")),
            }
        }
        let mut words = words.into_iter();
        match words.next() {
            Some(first) => Ok(Command {
                offset,
                first,
                arguments: words.collect(),
            }),
            None => Err(At::new(offset, "empty command")),
        }
    }

    /// A term with the fields behind it.
    fn operand(&mut self) -> Result<Option<Operand>, At> {
        let Some(operand) = self.term()? else {
            return Ok(None);
        };
        let mut fields: Path = Vec::new();
        while self.peek().kind == Kind::Field {
            let item = self.next();
            fields.push((field_name(item.text), item.offset));
        }
        if fields.is_empty() {
            return Ok(Some(operand));
        }
        let offset = operand.offset;
        let kind = match operand.kind {
            OperandKind::Field(mut path) => {
                path.append(&mut fields);
                OperandKind::Field(path)
            }
            OperandKind::Variable(name, mut path) => {
                path.append(&mut fields);
                OperandKind::Variable(name, path)
            }
            OperandKind::Constant(_)
            | OperandKind::TooLarge(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                return Err(At::new(offset, "unexpected . after a constant or the dot"));
            }
            other => OperandKind::Chain(
                Box::new(Operand {
                    offset,
                    kind: other,
                }),
                fields,
            ),
        };
        Ok(Some(Operand { offset, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand>, At> {
        let item = self.peek_word();
        if !starts_operand(item.kind) {
            return Ok(None);
        }
        self.next();
        let kind = match item.kind {
            Kind::Identifier => match builtins::find(item.text) {
                Some(name) => OperandKind::Function(name),
                None => {
                    return Err(At::new(
                        item.offset,
                        format!("function {:?} not defined", item.text),
                    ));
                }
            },
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable => {
                if !self.variables.iter().any(|name| name == item.text) {
                    return Err(At::new(
                        item.offset,
                        format!("undefined variable {:?}", item.text),
                    ));
                }
                OperandKind::Variable(item.text.to_owned(), Vec::new())
            }
            Kind::Field => OperandKind::Field(vec![(field_name(item.text), item.offset)]),
            Kind::Bool => OperandKind::Constant(Value::Bool(item.text == "true")),
            Kind::CharConstant | Kind::Number => constant::number(item)?,
            Kind::Text1 | Kind::RawText => OperandKind::text(constant::unquote(item)?),
            _ => OperandKind::Parenthesised(Box::new(
                self.pipe("parenthesized pipeline", Kind::RightParen)?,
            )),
        };
        Ok(Some(Operand {
            offset: item.offset,
            kind,
        }))
    }
}

fn starts_operand(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Bool
            | Kind::CharConstant
            | Kind::Number
            | Kind::Text1
            | Kind::RawText
            | Kind::Dot
            | Kind::Nil
            | Kind::Field
            | Kind::Identifier
            | Kind::Variable
            | Kind::LeftParen
    )
}

fn check_pipe(pipe: &Pipe, context: &str) -> Result<(), At> {
    if pipe.commands.is_empty() {
        return Err(At::new(pipe.offset, format!("missing value for {context}")));
    }
    for (index, command) in pipe.commands.iter().enumerate().skip(1) {
        if matches!(
            command.first.kind,
            OperandKind::Constant(_)
                | OperandKind::TooLarge(_)
                | OperandKind::Nil
                | OperandKind::Dot
        ) {
            return Err(At::new(
                command.offset,
                format!("non executable command in pipeline stage {}", index + 1),
            ));
        }
    }
    Ok(())
}

fn field_name(text: &str) -> String {
    text.trim_start_matches('.').to_owned()
}

fn unexpected(item: Item<'_>, context: &str) -> At {
    let what = match item.kind {
        Kind::Eof => "end of the template".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Space => "space".to_owned(),
        kind if starts_operand(kind) || kind == Kind::Char => format!("{:?}", item.text),
        _ => format!("<{}>", item.text),
    };
    At::new(item.offset, format!("unexpected {what} in {context}"))
}
