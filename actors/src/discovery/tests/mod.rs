mod belief;
mod state;
