"""A folder for transformers.js, in Node and in browsers."""
