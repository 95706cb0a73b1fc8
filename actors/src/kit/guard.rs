//! One last word, whatever the end.

/// Runs a closure once when dropped: at return, error, cancellation or panic alike.
#[must_use]
pub struct Guard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Guard<F> {
    /// `last_word` must neither block nor panic.
    pub fn new(last_word: F) -> Self {
        Self(Some(last_word))
    }
}

impl<F: FnOnce()> Drop for Guard<F> {
    fn drop(&mut self) {
        if let Some(last_word) = self.0.take() {
            last_word();
        }
    }
}
