"""Kinds of answers (classes, boxes, masks, numbers) and how both networks are judged by them."""
