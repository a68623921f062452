//! A second reader of JSON, by the letter of RFC 8259. It shares nothing with the one that the server uses, forgives nothing, and keeps
//! what others throw away: every member of an object, in order, also where a name is there twice.

/// As deep as the server's reader goes.
const DEPTH_MAX: usize = 127;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Flag(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The member of this name; of several the last.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The value at a path of names, null being nothing.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |inner, name| inner.get(name)).filter(|found| **found != Self::Null)
    }

    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The members, where it is an object.
    pub fn members(&self) -> &[(String, Self)] {
        if let Self::Object(members) = self { members } else { &[] }
    }

    /// Whether an object in it, at any depth, has a name twice.
    pub fn repeats_a_name(&self) -> bool {
        let members = self.members();
        let is_repeated = |at: usize| members[..at].iter().any(|(name, _)| *name == members[at].0);
        (0..members.len()).any(is_repeated) || self.children().any(Self::repeats_a_name)
    }

    /// Whether a number in it is larger than any that a program can hold.
    pub fn has_endless_number(&self) -> bool {
        let is_endless = |text: &str| !text.parse::<f64>().is_ok_and(f64::is_finite);
        matches!(self, Self::Number(text) if is_endless(text)) || self.children().any(Self::has_endless_number)
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        let list: &[Self] = if let Self::List(list) = self { list } else { &[] };
        list.iter().chain(self.members().iter().map(|(_, value)| value))
    }
}

/// The value, if these bytes are JSON and nothing else.
pub fn read(bytes: &[u8]) -> Option<Node> {
    let mut reader = Reader { rest: std::str::from_utf8(bytes).ok()? };
    let value = reader.value(0)?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn next_char(&mut self) -> Option<char> {
        let first = self.rest.chars().next()?;
        self.rest = &self.rest[first.len_utf8()..];
        Some(first)
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        self.skip_space();
        match self.rest.chars().next()? {
            'n' => self.take("null").map(|()| Node::Null),
            't' => self.take("true").map(|()| Node::Flag(true)),
            'f' => self.take("false").map(|()| Node::Flag(false)),
            '"' => self.string().map(Node::Text),
            '[' if depth < DEPTH_MAX => self.list(depth + 1),
            '{' if depth < DEPTH_MAX => self.object(depth + 1),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        self.take("[")?;
        self.skip_space();
        if self.take("]").is_some() {
            return Some(Node::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            match self.next_char()? {
                ',' => {}
                ']' => return Some(Node::List(items)),
                _ => return None,
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node> {
        let mut members = Vec::new();
        self.take("{")?;
        self.skip_space();
        if self.take("}").is_some() {
            return Some(Node::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            self.take(":")?;
            members.push((name, self.value(depth)?));
            self.skip_space();
            match self.next_char()? {
                ',' => {}
                '}' => return Some(Node::Object(members)),
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        self.take("\"")?;
        loop {
            match self.next_char()? {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                '\0'..='\x1f' => return None,
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next_char()? {
            '"' => '"',
            '\\' => '\\',
            '/' => '/',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => match self.four_digits()? {
                high @ 0xd800..=0xdbff => {
                    self.take("\\u")?;
                    let low = self.four_digits().filter(|low| (0xdc00..=0xdfff).contains(low))?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?
                }
                unit => char::from_u32(unit)?,
            },
            _ => return None,
        })
    }

    fn four_digits(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }

    fn number(&mut self) -> Option<Node> {
        let whole = self.rest;
        let _sign = self.take("-");
        let integer = self.digits()?;
        if integer.len() > 1 && integer.starts_with('0') {
            return None;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _sign = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        Some(Node::Number(whole[..whole.len() - self.rest.len()].to_owned()))
    }

    /// At least one digit.
    fn digits(&mut self) -> Option<String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!digits.is_empty()).then(|| digits.to_owned())
    }
}
