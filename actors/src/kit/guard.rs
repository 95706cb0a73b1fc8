//! A closure that runs at the end of its scope, however that ends.

/// Runs a closure once when dropped: at return, error, cancellation or panic alike.
#[must_use]
pub struct Guard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Guard<F> {
    /// Arms the guard. `at_end` must neither block nor panic.
    pub fn new(at_end: F) -> Self {
        Self(Some(at_end))
    }
}

impl<F: FnOnce()> Drop for Guard<F> {
    fn drop(&mut self) {
        if let Some(at_end) = self.0.take() {
            at_end();
        }
    }
}
