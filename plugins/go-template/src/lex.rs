//! Splits a template into items: text, delimiters and the words between them.
//!
//! The rules are those of Go's text/template/parse. Spaces are items, because `a.b` and `a .b` differ.

use crate::error::At;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    LeftDelim,
    RightDelim,
    Space,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    Bool,
    Char,
    CharConstant,
    Number,
    Text1,
    RawText,
    Dot,
    Nil,
    Field,
    Identifier,
    Variable,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
    Eof,
}

/// A piece of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item<'t> {
    pub(crate) kind: Kind,
    pub(crate) text: &'t str,
    pub(crate) offset: usize,
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// All items of the template, the last of kind [`Kind::Eof`].
///
/// An error ends the list of items: the parser may find a reason before it. It is returned beside them.
pub(crate) fn lex<'t>(text: &'t str, left: &'t str, right: &'t str) -> (Vec<Item<'t>>, Option<At>) {
    let mut lexer = Lexer {
        text,
        left,
        right,
        position: 0,
        start: 0,
        items: Vec::new(),
        parens: 0,
    };
    let error = lexer.run().err();
    let end = lexer.position;
    lexer.items.push(Item {
        kind: Kind::Eof,
        text: "",
        offset: end,
    });
    (lexer.items, error)
}

struct Lexer<'t> {
    text: &'t str,
    left: &'t str,
    right: &'t str,
    position: usize,
    start: usize,
    items: Vec<Item<'t>>,
    parens: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.position += next.map_or(0, char::len_utf8);
        next
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.next();
        }
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn word(&self) -> &'t str {
        self.text.get(self.start..self.position).unwrap_or_default()
    }

    fn emit(&mut self, kind: Kind) {
        self.items.push(Item {
            kind,
            text: self.word(),
            offset: self.start,
        });
        self.start = self.position;
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, At> {
        Err(At::new(self.start, message))
    }

    fn run(&mut self) -> Result<(), At> {
        while let Some(found) = self.rest().find(self.left) {
            let delimiter = self.position + found;
            let after = self
                .text
                .get(delimiter + self.left.len()..)
                .unwrap_or_default();
            let trims =
                after.starts_with('-') && after.chars().nth(1).is_some_and(|c| SPACES.contains(&c));
            let before = self.rest().get(..found).unwrap_or_default();
            let kept = if trims {
                before.trim_end_matches(SPACES)
            } else {
                before
            };
            self.position += kept.len();
            if !kept.is_empty() {
                self.emit(Kind::Text);
            }
            self.position = delimiter;
            self.start = delimiter;
            self.action(if trims { 2 } else { 0 })?;
        }
        self.position = self.text.len();
        if self.start < self.position {
            self.emit(Kind::Text);
        }
        Ok(())
    }

    /// From a left delimiter to behind its right one.
    fn action(&mut self, trim: usize) -> Result<(), At> {
        let open = self.start;
        let inside = self.position + self.left.len() + trim;
        if self
            .text
            .get(inside..)
            .is_some_and(|rest| rest.starts_with("/*"))
        {
            return self.comment(inside);
        }
        self.position += self.left.len();
        self.emit(Kind::LeftDelim);
        self.position = inside;
        self.start = inside;
        self.parens = 0;
        loop {
            if let Some(trims) = self.at_right_delimiter() {
                if self.parens > 0 {
                    return self.fail("unclosed left paren");
                }
                self.right_delimiter(trims);
                return Ok(());
            }
            self.inside(open)?;
        }
    }

    fn comment(&mut self, inside: usize) -> Result<(), At> {
        let Some(end) = self.text.get(inside..).and_then(|rest| rest.find("*/")) else {
            return self.fail("unclosed comment");
        };
        self.position = inside + end + 2;
        let Some(trims) = self.at_right_delimiter() else {
            return self.fail("comment ends before closing delimiter");
        };
        self.skip_right_delimiter(trims);
        Ok(())
    }

    /// `Some(true)` when the delimiter also trims what follows.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        let mut characters = rest.chars();
        let marked = characters.next().is_some_and(|c| SPACES.contains(&c))
            && characters.next() == Some('-');
        if marked
            && rest
                .get(2..)
                .is_some_and(|rest| rest.starts_with(self.right))
        {
            return Some(true);
        }
        rest.starts_with(self.right).then_some(false)
    }

    fn right_delimiter(&mut self, trims: bool) {
        let begin = self.position + if trims { 2 } else { 0 };
        self.start = begin;
        self.position = begin + self.right.len();
        self.emit(Kind::RightDelim);
        self.skip_spaces_if(trims);
    }

    fn skip_right_delimiter(&mut self, trims: bool) {
        self.position += self.right.len() + if trims { 2 } else { 0 };
        self.skip_spaces_if(trims);
    }

    fn skip_spaces_if(&mut self, trims: bool) {
        if trims {
            let rest = self.rest();
            self.position += rest.len() - rest.trim_start_matches(SPACES).len();
        }
        self.start = self.position;
    }

    fn inside(&mut self, open: usize) -> Result<(), At> {
        let Some(character) = self.next() else {
            return Err(At::new(open, "unclosed action"));
        };
        match character {
            c if SPACES.contains(&c) => {
                while self.peek().is_some_and(|c| SPACES.contains(&c))
                    && self.at_right_delimiter().is_none()
                {
                    self.next();
                }
                self.emit(Kind::Space);
            }
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return self.fail("expected :=");
                }
                self.emit(Kind::Declare);
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quote('"', "unterminated quoted string", Kind::Text1)?,
            '\'' => self.quote('\'', "unterminated character constant", Kind::CharConstant)?,
            '`' => {
                let Some(end) = self.rest().find('`') else {
                    return self.fail("unterminated raw quoted string");
                };
                self.position += end + 1;
                self.emit(Kind::RawText);
            }
            '$' => self.field_or_variable(Kind::Variable)?,
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.field_or_variable(Kind::Field)?
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.position = self.start;
                self.number()?;
            }
            c if is_alphanumeric(c) => self.identifier()?,
            '(' => {
                self.parens += 1;
                self.emit(Kind::LeftParen);
            }
            ')' => {
                let Some(parens) = self.parens.checked_sub(1) else {
                    return self.fail("unexpected right paren");
                };
                self.parens = parens;
                self.emit(Kind::RightParen);
            }
            c if c == ' ' || c.is_ascii_graphic() => self.emit(Kind::Char),
            c => return self.fail(format!("unrecognized character in action: {}", unicode(c))),
        }
        Ok(())
    }

    fn quote(&mut self, end: char, unterminated: &str, kind: Kind) -> Result<(), At> {
        loop {
            match self.next() {
                Some('\\') if self.peek().is_some_and(|c| c != '\n') => {
                    self.next();
                }
                None | Some('\n' | '\\') => return self.fail(unterminated),
                Some(c) if c == end => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(c) => SPACES.contains(&c) || self.rest().starts_with(self.right),
        }
    }

    fn check_terminator(&self) -> Result<(), At> {
        match self.peek() {
            Some(c) if !self.at_terminator() => Err(At::new(
                self.position,
                format!("bad character {}", unicode(c)),
            )),
            _ => Ok(()),
        }
    }

    fn field_or_variable(&mut self, kind: Kind) -> Result<(), At> {
        if self.at_terminator() {
            self.emit(if kind == Kind::Variable {
                kind
            } else {
                Kind::Dot
            });
            return Ok(());
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.check_terminator()?;
        self.emit(kind);
        Ok(())
    }

    fn identifier(&mut self) -> Result<(), At> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        self.check_terminator()?;
        let kind = match self.word() {
            "block" => Kind::Block,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "define" => Kind::Define,
            "else" => Kind::Else,
            "end" => Kind::End,
            "if" => Kind::If,
            "range" => Kind::Range,
            "nil" => Kind::Nil,
            "template" => Kind::Template,
            "with" => Kind::With,
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn number(&mut self) -> Result<(), At> {
        let real = self.scan_number();
        if real && matches!(self.peek(), Some('+' | '-')) {
            // A complex constant: 1+2i.
            if !self.scan_number() || !self.word().ends_with('i') {
                return self.fail(format!("bad number syntax: {:?}", self.word()));
            }
        } else if !real {
            return self.fail(format!("bad number syntax: {:?}", self.word()));
        }
        self.emit(Kind::Number);
        Ok(())
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEXADECIMAL: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEXADECIMAL;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = if digits == DECIMAL { "eE" } else { "pP" };
        if (digits == DECIMAL || digits == HEXADECIMAL) && self.accept(exponent) {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn unicode(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
