"""The words of deliberative credit assignment: standard library only. Start here."""
