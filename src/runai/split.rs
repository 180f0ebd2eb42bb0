//! Cuts a JSON array into its elements while it arrives.
//!
//! Owns the top level of a list body: bracket, elements, commas, bracket, nothing else. Must not know what an element
//! means, and never holds more than one of them.

/// Largest single element, in bytes. A full record has about two kilobytes.
const MAX_ELEMENT: usize = 1024 * 1024;

/// Why a body is not a JSON array. Says what kind of thing came, never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SplitError<E> {
    /// It begins with something else.
    NotAnArray(char),
    /// Nothing came.
    Empty,
    /// It ends before its closing bracket.
    Unfinished,
    /// Something follows the closing bracket.
    Trailing,
    /// One element is larger than [`MAX_ELEMENT`].
    ElementTooLarge,
    /// The receiver refused an element; the index counts from zero.
    Element(usize, E),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    Inside,
    Done,
}

/// The cutter. Feed it every chunk, then finish.
#[derive(Debug)]
pub(crate) struct Splitter {
    place: Place,
    element: Vec<u8>,
    index: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    pub(crate) const fn new() -> Self {
        Self { place: Place::Start, element: Vec::new(), index: 0, depth: 0, in_string: false, escaped: false }
    }

    /// Takes the next bytes and hands over every element that they complete.
    pub(crate) fn feed<E>(
        &mut self,
        chunk: &[u8],
        mut receive: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), SplitError<E>> {
        for &byte in chunk {
            match self.place {
                Place::Start => match byte {
                    b'[' => self.place = Place::Inside,
                    blank if is_blank(blank) => {}
                    other => return Err(SplitError::NotAnArray(printable(other))),
                },
                Place::Inside => self.inside(byte, &mut receive)?,
                Place::Done => {
                    if !is_blank(byte) {
                        return Err(SplitError::Trailing);
                    }
                }
            }
        }
        Ok(())
    }

    fn inside<E>(&mut self, byte: u8, receive: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), SplitError<E>> {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b',' if self.depth == 0 => return self.hand_over(receive),
                b']' if self.depth == 0 => {
                    self.place = Place::Done;
                    let blank = self.element.iter().copied().all(is_blank);
                    return if self.index == 0 && blank { Ok(()) } else { self.hand_over(receive) };
                }
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        if self.element.len() >= MAX_ELEMENT {
            return Err(SplitError::ElementTooLarge);
        }
        self.element.push(byte);
        Ok(())
    }

    fn hand_over<E>(&mut self, receive: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), SplitError<E>> {
        receive(&self.element).map_err(|error| SplitError::Element(self.index, error))?;
        self.index += 1;
        self.element.clear();
        Ok(())
    }

    /// Checks that the array was complete.
    pub(crate) fn finish<E>(self) -> Result<(), SplitError<E>> {
        match self.place {
            Place::Start => Err(SplitError::Empty),
            Place::Inside => Err(SplitError::Unfinished),
            Place::Done => Ok(()),
        }
    }
}

/// White space as JSON has it: a form feed is none, whatever ASCII says.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() { char::from(byte) } else { '?' }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    type Outcome = Result<Vec<Value>, SplitError<()>>;

    fn split(body: &[u8], cuts: &[usize]) -> Outcome {
        let mut found = Vec::new();
        let mut splitter = Splitter::new();
        let mut receive = |bytes: &[u8]| {
            found.push(serde_json::from_slice(bytes).map_err(|_| ())?);
            Ok(())
        };
        let mut from = 0;
        for &cut in cuts {
            splitter.feed(&body[from..cut], &mut receive)?;
            from = cut;
        }
        splitter.feed(&body[from..], &mut receive)?;
        splitter.finish()?;
        Ok(found)
    }

    #[test]
    fn tells_arrays_from_everything_else() {
        let ok = ["[]", " [ \n] ", "[1]", "[ {\"a\":[1,2,{\"b\":\"],[\"}]} , null ]\n", r#"["\"]","\\"]"#];
        for body in ok {
            let want: Vec<Value> = serde_json::from_str(body).unwrap();
            assert_eq!(split(body.as_bytes(), &[]), Ok(want), "{body}");
        }
        let bad = [
            ("", SplitError::Empty),
            ("  ", SplitError::Empty),
            ("<html>", SplitError::NotAnArray('<')),
            ("{\"clusters\":[]}", SplitError::NotAnArray('{')),
            ("null", SplitError::NotAnArray('n')),
            ("\u{7}", SplitError::NotAnArray('?')),
            ("[", SplitError::Unfinished),
            ("[1,2", SplitError::Unfinished),
            ("[{\"a\":1}", SplitError::Unfinished),
            ("[\"", SplitError::Unfinished),
            ("[] x", SplitError::Trailing),
            ("[][]", SplitError::Trailing),
            ("[1]\0", SplitError::Trailing),
            ("[,]", SplitError::Element(0, ())),
            ("[1,]", SplitError::Element(1, ())),
            ("[1 2]", SplitError::Element(0, ())),
            ("[{]}]", SplitError::Element(0, ())),
            ("[{\"a\":1]]", SplitError::Element(0, ())),
            ("[1,}]", SplitError::Element(1, ())),
            ("[\u{c}]", SplitError::Element(0, ())),
            ("[]\u{c}", SplitError::Trailing),
        ];
        for (body, want) in bad {
            assert_eq!(split(body.as_bytes(), &[]), Err(want), "{body}");
        }
    }

    #[test]
    fn an_endless_element_is_not_collected() {
        let mut body = b"[\"".to_vec();
        body.resize(MAX_ELEMENT + 10, b'x');
        assert_eq!(split(&body, &[]), Err(SplitError::ElementTooLarge));
        let long = format!("[\"{}\"]", "x".repeat(500_000));
        assert!(split(long.as_bytes(), &[]).is_ok());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\[\\]{}\",\\\\ ]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn chunk_boundaries_do_not_matter(
            values in prop::collection::vec(json(), 0..6),
            pretty in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let body = if pretty { serde_json::to_vec_pretty(&values) } else { serde_json::to_vec(&values) }.unwrap();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(split(&body, &cuts), Ok(values));
        }

        #[test]
        fn no_prefix_of_an_array_is_an_array(values in prop::collection::vec(json(), 0..4), cut in any::<prop::sample::Index>()) {
            let body = serde_json::to_vec(&values).unwrap();
            prop_assert!(split(&body[..cut.index(body.len())], &[]).is_err());
        }

        #[test]
        fn agrees_with_a_whole_parse(body in "[\\[\\]{}\",:\\\\ 01a]{0,20}") {
            let whole: Result<Vec<Value>, _> = serde_json::from_str(&body);
            prop_assert_eq!(split(body.as_bytes(), &[]).ok(), whole.ok());
        }
    }
}
