"""The languages of providers: how a question is written and a reply read. Pure, one file each."""
