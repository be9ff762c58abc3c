"""What is told of a night: its page, a summary for mail and chat, JUnit XML for CI."""
