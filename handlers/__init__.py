"""Entry points of the Lambda functions: each takes its event, calls the product, and ends with an answer or a code."""
