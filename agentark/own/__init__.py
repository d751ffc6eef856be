"""Your own data: a file of questions and answers, a teacher and a student go in, a taught student with its card and report comes out."""
