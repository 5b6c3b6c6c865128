"""What people read and press: the texts, cards, lists, buttons and modals. Pure functions; nothing is sent here."""
