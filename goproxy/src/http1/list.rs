//! Pure. A field that is a list of elements, each compared with one word as its bytes come.

/// A list (RFC 9110 §5.6.1), over several lines or folded, and how often it names the word, whatever its case.
#[derive(Debug)]
pub(super) struct List {
    word: &'static [u8],
    present: bool,
    bad: bool,
    element: Element,
    words: u32,
    ends_with_word: bool,
}

/// How far an element is the word.
#[derive(Debug, Default)]
struct Element {
    matched: usize,
    any: bool,
    closed: bool,
    differs: bool,
}

impl List {
    /// A list that has not begun. The word is in lower case.
    pub(super) const fn of(word: &'static [u8]) -> Self {
        let element = Element { matched: 0, any: false, closed: false, differs: false };
        Self { word, present: false, bad: false, element, words: 0, ends_with_word: false }
    }

    /// One line more of the field.
    pub(super) fn line(&mut self, value: &[u8]) {
        self.present = true;
        self.end();
        self.more(value);
    }

    /// The last line goes on: a fold stands for white space (RFC 9112 §5.2).
    pub(super) fn fold(&mut self, value: &[u8]) {
        self.more(b" ");
        self.more(value);
    }

    /// One line more, too long to look at.
    pub(super) fn too_long(&mut self) {
        self.present = true;
        self.bad = true;
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        let Element { matched, any, differs, .. } = std::mem::take(&mut self.element);
        if any {
            self.ends_with_word = !differs && matched == self.word.len();
            self.words = self.words.saturating_add(u32::from(self.ends_with_word));
        }
    }

    /// Whether there was such a field.
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    /// Whether something of it could not be looked at.
    pub(super) fn is_bad(&self) -> bool {
        self.bad
    }

    /// How many of its elements are the word.
    pub(super) fn words(&self) -> u32 {
        self.words
    }

    /// Whether its last element is the word.
    pub(super) fn ends_with_word(&self) -> bool {
        self.ends_with_word
    }

    fn more(&mut self, value: &[u8]) {
        for &byte in value {
            match byte {
                b',' => self.end(),
                b' ' | b'\t' => self.element.closed = self.element.any,
                _ if self.element.closed => self.element.differs = true,
                _ => {
                    let Element { matched, any, differs, .. } = &mut self.element;
                    *any = true;
                    *differs |= self.word.get(*matched) != Some(&byte.to_ascii_lowercase());
                    *matched += 1;
                }
            }
        }
    }
}
